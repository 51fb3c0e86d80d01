// Checks the language of comments: relative openings and retired words per 1000 comment lines. Counts whole-line comments;
// comments behind code, Python docstrings and migrations (whose checksums must not change) are left out.
//
//   node tests/style/comments.mjs [--list] [PATH...]     PATH: only files below it; --list prints every finding
//
// A doc comment begins with the standard name of the thing or with a verb ("Returns", "Rejects"). A first word of FIRST_WORDS
// makes the sentence a relative clause without a noun, which nobody greps for. RETIRED lists words for which the field has a
// standard term; the term stands beside each. CONTRIBUTING.md has the rule.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Findings per 1000 comment lines above which the check fails. */
const LIMIT = 15

const FIRST_WORDS = /^(what|who|whose|whom|whether|how|where|which|that which)\b/i

const RETIRED = [
  [/\banew\b/i, 'again, rebuild'],
  [/\bgoodbyes?\b/i, 'close, close_notify'],
  [/\b(im)?patien(ce|t|tly)\b/i, 'timeout, coalescing'],
  [/\bow(e|es|ed|ing)\b/i, 'queued, pending'],
  [/\bforgiv(e|es|en|ing)\b/i, 'reset, ignored'],
  [/\bobey(s|ed)?\b/i, 'applied, honoured'],
  [/\b(tell|tells|told)\b/i, 'notify, report, send'],
  [/\b(hear|hears|heard)\b/i, 'receive'],
  [/\b(take|takes|taken|took|taking) up\b(?! to\b)/i, 'resume, process'],
  [/\blook(s|ed|ing)? after\b/i, 'handle, maintain'],
  [/\b(let|lets|letting) go\b/i, 'release'],
  [/\b(go|goes|went|gone|going) on\b/i, 'continue, forward, resume'],
  [/\bin vain\b/i, 'without result, timed out'],
  [/\bthe house\b/i, 'server, installation'],
  [/\b(great )?circles? of\b/i, 'ACL group'],
  [/\bnobody knows\b/i, 'unknown'],
  [/\bwhoever\b/i, 'name the actor'],
]

/** Comment lines of a file as `{ line, text, opens }`; `opens` marks the first line of a paragraph. */
function comments(path, source) {
  // A Rust line that starts with `*` is a dereference; Rust comments here are line comments.
  const marker = path.endsWith('.rs')
    ? /^\s*\/\/[/!]?\s?(.*)$/
    : /\.(ts|mjs|js)$/.test(path)
    ? /^\s*(?:\/\/[/!]?|\/\*\*?|\*(?!\/))\s?(.*?)(?:\*\/)?$/
    : path.endsWith('.vue')
      ? /^\s*(?:\/\/[/!]?|\/\*\*?|\*(?!\/)|<!--)\s?(.*?)(?:\*\/|-->)?$/
      : /^\s*#(?!!)\s?(.*)$/
  const found = []
  let inside = false
  source.split('\n').forEach((text, index) => {
    const match = marker.exec(text)
    if (match && match[1].trim()) {
      found.push({ line: index + 1, text: match[1].trim(), opens: !inside })
    }
    inside = Boolean(match) && Boolean(match[1].trim())
  })
  return found
}

const args = process.argv.slice(2)
const list = args.includes('--list')
const paths = args.filter((arg) => arg !== '--list')
const CHECKED = ['*.rs', '*.ts', '*.vue', '*.mjs', '*.js', '*.py', '*.sh', 'deploy/*', '.ci/run', 'tests/browser/run']
const tracked = ['ls-files', '--cached', '--others', '--exclude-standard', '--', ...CHECKED]
const files = execFileSync('git', tracked, { encoding: 'utf8' })
  .split('\n')
  .filter((file) => file && !/\.(json|d\.ts|txt)$/.test(file) && !file.startsWith('tests/style/'))
  .filter((file) => paths.length === 0 || paths.some((path) => file.startsWith(path)))

let lines = 0
let openings = 0
let retired = 0
for (const file of files) {
  for (const comment of comments(file, readFileSync(file, 'utf8'))) {
    lines += 1
    const where = `${file}:${comment.line}`
    if (comment.opens && FIRST_WORDS.test(comment.text)) {
      openings += 1
      if (list) console.log(`${where}: begins with "${comment.text.split(' ')[0]}": ${comment.text}`)
    }
    for (const [word, instead] of RETIRED) {
      if (!word.test(comment.text)) continue
      retired += 1
      if (list) console.log(`${where}: retired word (${instead}): ${comment.text}`)
    }
  }
}

const rate = (count) => ((1000 * count) / Math.max(lines, 1)).toFixed(1)
console.log(
  `${lines} comment lines: ${openings} relative openings (${rate(openings)} per 1000), ` +
    `${retired} retired words (${rate(retired)} per 1000); limit ${LIMIT} together`,
)
if (openings + retired > (LIMIT * lines) / 1000) {
  if (!list) console.log('node tests/style/comments.mjs --list shows the findings; CONTRIBUTING.md has the rule')
  process.exit(1)
}
