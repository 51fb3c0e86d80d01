// Checks the licences and sources of all dependencies, offline: crates by `cargo metadata`, npm packages by their lock files.
//
//   node tests/style/licences.mjs
//
// A small check instead of cargo-deny, which would have to be built in every clean CI run. It does not check security
// advisories: their database is a git repository, which a build without a git host cannot read. CONTRIBUTING.md says how
// to check them by hand.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** SPDX identifiers of licences that allow distribution in a binary without its source. */
const ALLOWED = new Set([
  '0BSD',
  'Apache-2.0',
  'Apache-2.0 WITH LLVM-exception',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BSL-1.0',
  'CDLA-Permissive-2.0',
  'ISC',
  'MIT',
  'PSF-2.0',
  'Python-2.0',
  'Unicode-3.0',
  'Unlicense',
  'WTFPL',
  'Zlib',
])

/** Exceptions by package, each with its reason. */
const EXCEPTIONS = {
  // MPL-2.0 covers single files; this CSS compiler runs at build time and is not distributed.
  lightningcss: 'MPL-2.0',
  // Its package.json names no licence; its readme says MIT.
  'combine-errors': 'unknown',
}

/** Crates that must not come in: ring is the only crypto provider. */
const BANNED = ['aws-lc-sys', 'native-tls', 'openssl-sys']

/** Evaluates an SPDX expression; `/` is the old form of OR. */
function isAllowed(expression, extra) {
  const tokens = expression.replaceAll('/', ' OR ').match(/[()]|[^\s()]+/g) ?? []
  const primary = () => {
    let licence = tokens.shift()
    if (licence === '(') {
      const value = either()
      tokens.shift()
      return value
    }
    if (tokens[0] === 'WITH') licence += ` ${tokens.shift()} ${tokens.shift()}`
    return ALLOWED.has(licence) || licence === extra
  }
  const operators = (operator, operand, combine) => () => {
    let value = operand()
    while (tokens[0] === operator) {
      tokens.shift()
      value = combine(operand(), value)
    }
    return value
  }
  const both = operators('AND', primary, (a, b) => a && b)
  const either = operators('OR', both, (a, b) => a || b)
  return either() && tokens.length === 0
}

function crates(manifest) {
  const args = [
    'metadata',
    '--format-version',
    '1',
    '--offline',
    '--locked',
    '--manifest-path',
    manifest,
  ]
  const { packages } = JSON.parse(
    execFileSync('cargo', args, { encoding: 'utf8', maxBuffer: 1 << 28 }),
  )
  return packages.filter(({ source }) => source !== null)
}

function npmPackages(lockFile) {
  const { packages } = JSON.parse(readFileSync(lockFile, 'utf8'))
  return Object.entries(packages).flatMap(([path, { license }]) =>
    path ? [{ name: path.replace(/.*node_modules\//, ''), license }] : [],
  )
}

const dependencies = [
  ...crates('Cargo.toml'),
  ...['web', 'tests/browser'].flatMap((folder) => npmPackages(`${folder}/package-lock.json`)),
]
const findings = dependencies.flatMap(({ name, version = '', license, source = 'registry+' }) => [
  ...(isAllowed(license ?? 'unknown', EXCEPTIONS[name.replace(/^lightningcss-.*/, 'lightningcss')])
    ? []
    : [`${name} ${version}: licence ${license ?? 'unknown'}`]),
  ...(source.startsWith('registry+') ? [] : [`${name} ${version}: source ${source}`]),
  ...(BANNED.includes(name) ? [`${name} ${version}: banned`] : []),
])
findings.forEach((finding) => console.log(finding))
console.log(`${dependencies.length} dependencies, ${findings.length} findings`)
process.exitCode = findings.length > 0 ? 1 : 0
