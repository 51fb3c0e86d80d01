# Paths and helper functions of setup, run, test and bench, which source this file.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# Cache outside of the checkout, shared by all clones on a machine: logs, screenshots, a newer node, CI's build folder.
TONGKE_CACHE="${TONGKE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tongke}"
export TONGKE_CACHE
# Plain `cargo` builds in ./target, and so do these scripts: both share one warm build folder. CI runs in a fresh clone, where
# ./target is always empty, and therefore builds in the cache.
if [ "${CI:-}" = true ]; then
  export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$TONGKE_CACHE/target}"
else
  export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$ROOT/target}"
fi
JOBS="$(nproc)"
# Debian 12 has node 18; the front end's tools need 20.19 or newer, which setup installs here.
PATH="$TONGKE_CACHE/node/node_modules/.bin:$TONGKE_CACHE/bin:$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin"
export PATH

# Cargo identifies our crates by their place in the workspace, not by the checkout's path, and compares modification times. In a
# build folder last used by another checkout it would reuse that checkout's output. Touching our sources prevents this.
claim_build_folder() {
  case "$CARGO_TARGET_DIR" in "$ROOT"/*) return 0 ;; esac
  local stamp="$CARGO_TARGET_DIR/.checkout"
  [ "$(cat "$stamp" 2>/dev/null)" != "$ROOT" ] || return 0
  find "$ROOT" \( -name node_modules -o -name target -o -name .git \) -prune -o -type f \( -name '*.rs' -o -name '*.toml' -o -name '*.sql' \) -exec touch {} +
  mkdir -p "$CARGO_TARGET_DIR"
  echo "$ROOT" >"$stamp"
}

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
[ -t 1 ] || say() { printf '==> %s\n' "$*"; }
