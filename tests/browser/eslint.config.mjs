// ESLint looks for its rules beside the linted files; these are kept with the linter.
export { browserTests as default } from '../../web/eslint.config.js'
