"""The FastAPI application of the race: a list of products, 10 KiB of JSON.

It is written as the manual of FastAPI has it: a model as the return type, so that the answer is
validated and serialised on each request.
"""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

SIZE = 10 << 10


class Product(BaseModel):
    number: int
    name: str
    price: float
    tags: list[str]
    stock: dict[str, int]


class Page(BaseModel):
    products: list[Product]
    note: str


PAGE = Page(products=[
    Product(number=number, name=f'Product {number:04}', price=number * 1.25 + 0.5,
            tags=['new', 'garden', 'reduced'], stock={'Berlin': number % 7, 'Lyon': number % 11})
    for number in range(80)], note='')
PAGE.note = '.' * (SIZE - len(PAGE.model_dump_json()))

app = FastAPI()


@app.get('/json')
async def page() -> Page:
    return PAGE
