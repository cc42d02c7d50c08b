"""Forms and uploads, as handlers read them. The tour is in README.md."""

from __future__ import annotations

from .errors import PartPassed, UploadEnded
from .files import Files, files_of
from .form import form_of
from .part import Part

__all__ = ['Files', 'Part', 'PartPassed', 'UploadEnded', 'files_of', 'form_of']
