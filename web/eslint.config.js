// Lint rules of the front end, and those of the browser tests, whose folder has no linter of its
// own.
import js from '@eslint/js'
import vue from 'eslint-plugin-vue'
import { defineConfig } from 'eslint/config'
import globals from 'globals'
import ts from 'typescript-eslint'

const recommended = [
  js.configs.recommended,
  {
    rules: {
      eqeqeq: 'error',
      // Chinese texts separate their parts with an ideographic space (U+3000).
      'no-irregular-whitespace': ['error', { skipTemplates: true }],
    },
  },
]

// Prettier formats the templates; the plugin's layout rules would contradict it.
const layoutRulesOff = Object.fromEntries(
  Object.entries(vue.rules)
    .filter(([, rule]) => rule.meta.type === 'layout')
    .map(([name]) => [`vue/${name}`, 'off']),
)

export default defineConfig(
  { ignores: ['dist/', 'src/api/schema.d.ts'] },
  recommended,
  ts.configs.recommended,
  vue.configs['flat/recommended'],
  { languageOptions: { globals: globals.browser }, rules: layoutRulesOff },
  { files: ['**/*.vue'], languageOptions: { parserOptions: { parser: ts.parser } } },
)

// The browser tests run in Node and hold functions that the browser evaluates.
export const browserTests = defineConfig(recommended, {
  languageOptions: { globals: { ...globals.node, ...globals.browser } },
})
