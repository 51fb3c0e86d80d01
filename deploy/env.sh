# Sourced by setup, run and test: where things are, and a few words they share.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# Everything that may outlive a checkout: build output, test pictures, a newer node. A clean clone on the same machine finds it again.
TONGKE_CACHE="${TONGKE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tongke}"
export TONGKE_CACHE
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$TONGKE_CACHE/target}"
JOBS="$(nproc)"
# Debian 12 has node 18; the front end's tools want 20.19 or newer, which setup puts here when it is missing.
PATH="$TONGKE_CACHE/node/node_modules/.bin:$TONGKE_CACHE/bin:$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin"
export PATH

# Cargo knows our own crates by their place in the workspace, not by the checkout's path, and believes modification times: in a build folder
# that another checkout used last, it would take that one's output for ours. So the sources of the checkout that comes are made new.
claim_build_folder() {
  local stamp="$CARGO_TARGET_DIR/.checkout"
  [ "$(cat "$stamp" 2>/dev/null)" != "$ROOT" ] || return 0
  find "$ROOT" \( -name node_modules -o -name target -o -name .git \) -prune -o -type f \( -name '*.rs' -o -name '*.toml' -o -name '*.sql' \) -exec touch {} +
  mkdir -p "$CARGO_TARGET_DIR"
  echo "$ROOT" >"$stamp"
}

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
[ -t 1 ] || say() { printf '==> %s\n' "$*"; }
