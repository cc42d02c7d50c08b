// Sends files with fetch and FormData of Node; see ../test_uploads.py.
//
//     node upload.mjs URL NOTE FILE...
import { openAsBlob, readFileSync } from 'node:fs'
import { basename } from 'node:path'

const [url, note, ...files] = process.argv.slice(2)
const form = new FormData()
form.append('note é', note)
for (const file of files) {
  const blob = openAsBlob ? await openAsBlob(file) : new Blob([readFileSync(file)])
  form.append('files', blob, basename(file))
}
const answer = await fetch(url, { method: 'POST', body: form })
process.stdout.write(await answer.text())
