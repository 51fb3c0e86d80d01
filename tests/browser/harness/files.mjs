// Sample files: made by the original programs, or byte by byte where no program writes such a file.

import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'

const run = promisify(execFile)

/** Location in the photo's EXIF data, which other users must not receive. */
export const PLACE = 'GPS:30.5728N,104.0668E'

const PLAN =
  '<html><body><h1>认识分数 教学设计</h1><p>三年级数学上册 第八单元</p><h2>教学目标</h2><p>认识几分之一，会读会写。</p><h2 style="page-break-before:always">教学过程</h2><p>把一个月饼平均分成两份。</p></body></html>'
const MARKS = {
  期中: [
    ['姓名', '语文', '数学'],
    ['张小明', 95, 88],
    ['李小红', 90, 99],
  ],
  期末: [
    ['姓名', '语文', '数学'],
    ['张小明', 97, 91],
  ],
}

/** Office documents and a spreadsheet, by LibreOffice. */
export async function officeFiles(folder) {
  const at = (name) => join(folder, name)
  await mkdir(folder, { recursive: true })
  await writeFile(at('plan.html'), PLAN)
  await writeFile(at('marks.fods'), book(MARKS))
  const convert = (to, from) =>
    run('soffice', [
      `-env:UserInstallation=file://${at('profile')}`,
      '--headless',
      '--convert-to',
      to,
      '--outdir',
      folder,
      at(from),
    ])
  await convert('docx:MS Word 2007 XML', 'plan.html')
  await convert('doc:MS Word 97', 'plan.html')
  await convert('xlsx', 'marks.fods')
  return {
    docx: await readFile(at('plan.docx')),
    doc: await readFile(at('plan.doc')),
    xlsx: await readFile(at('marks.xlsx')),
  }
}

/** Flat OpenDocument spreadsheet (ODF 1.3 part 3 §3.1.2) with named sheets. */
function book(sheets) {
  const cell = (value) =>
    `<table:table-cell office:value-type="${typeof value === 'number' ? `float" office:value="${value}` : 'string'}"><text:p>${value}</text:p></table:table-cell>`
  const row = (cells) => `<table:table-row>${cells.map(cell).join('')}</table:table-row>`
  const sheet = ([name, rows]) =>
    `<table:table table:name="${name}">${rows.map(row).join('')}</table:table>`
  const spaces = ['office', 'table', 'text']
    .map((name) => `xmlns:${name}="urn:oasis:names:tc:opendocument:xmlns:${name}:1.0"`)
    .join(' ')
  return `<?xml version="1.0" encoding="UTF-8"?><office:document ${spaces} office:version="1.3" office:mimetype="application/vnd.oasis.opendocument.spreadsheet"><office:body><office:spreadsheet>${Object.entries(sheets).map(sheet).join('')}</office:spreadsheet></office:body></office:document>`
}

/** Generates a media file with ffmpeg; `how` are its arguments after the inputs. */
export async function film(file, how, { size = '320x240', seconds = 3 } = {}) {
  await run('ffmpeg', [
    '-v',
    'error',
    '-y',
    '-f',
    'lavfi',
    '-i',
    `testsrc2=size=${size}:rate=15:duration=${seconds}`,
    '-f',
    'lavfi',
    '-i',
    `sine=frequency=440:duration=${seconds}`,
    '-shortest',
    ...how,
    file,
  ])
}

/** Photo with EXIF data: orientation 6 (rotated) and a location. */
export async function photo(file) {
  await run('ffmpeg', [
    '-v',
    'error',
    '-y',
    '-f',
    'lavfi',
    '-i',
    'testsrc2=size=640x360',
    '-frames:v',
    '1',
    '-pix_fmt',
    'yuvj420p',
    file,
  ])
  const plain = await readFile(file)
  const place = Buffer.from(`${PLACE}\0`, 'ascii')
  // TIFF, big-endian: Orientation (0x0112) 6 and ImageDescription (0x010e) behind the directory.
  const tiff = Buffer.concat([
    Buffer.from('4d4d002a000000080002', 'hex'),
    entry(0x010e, 2, place.length, 38),
    entry(0x0112, 3, 1, 6 << 16),
    Buffer.alloc(4),
    place,
  ])
  const body = Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), tiff])
  const head = Buffer.from([0xff, 0xe1, (body.length + 2) >> 8, (body.length + 2) & 255])
  const bytes = Buffer.concat([plain.subarray(0, 2), head, body, plain.subarray(2)])
  await writeFile(file, bytes)
  return bytes
}

function entry(tag, type, count, value) {
  const bytes = Buffer.alloc(12)
  bytes.writeUInt16BE(tag, 0)
  bytes.writeUInt16BE(type, 2)
  bytes.writeUInt32BE(count, 4)
  bytes.writeUInt32BE(value, 8)
  return bytes
}

export async function gb18030(text) {
  const child = run('iconv', ['-f', 'utf-8', '-t', 'gb18030'], {
    encoding: 'buffer',
  })
  child.child.stdin.end(text)
  return (await child).stdout
}

/** Zip file as Chinese Windows writes it: names in GBK without the UTF-8 flag. */
export async function zip(files) {
  const locals = [],
    central = []
  let at = 0
  for (const [path, text] of Object.entries(files)) {
    const [name, body] = [await gb18030(path), Buffer.from(text)]
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt32LE(crc32(body), 10)
    common.writeUInt32LE(body.length, 14)
    common.writeUInt32LE(body.length, 18)
    common.writeUInt16LE(name.length, 22)
    locals.push(Buffer.from('PK\x03\x04'), common, name, body)
    const place = Buffer.alloc(14)
    place.writeUInt32LE(at, 10)
    central.push(Buffer.from('PK\x01\x02\x14\0', 'latin1'), common, place, name)
    at += 30 + name.length + body.length
  }
  const directory = Buffer.concat(central)
  const end = Buffer.alloc(18)
  end.writeUInt16LE(Object.keys(files).length, 4)
  end.writeUInt16LE(Object.keys(files).length, 6)
  end.writeUInt32LE(directory.length, 8)
  end.writeUInt32LE(at, 12)
  return Buffer.concat([...locals, directory, Buffer.from('PK\x05\x06'), end])
}
