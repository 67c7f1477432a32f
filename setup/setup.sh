#!/bin/sh
# Installs what Ringfort needs: Debian packages that are missing, and .venv with the locked Python packages.
# With the word `test` it also installs what only tests need, with the word `benchmark` the peers that benchmarks compare
# with. Run it again whenever you like; when nothing has changed it takes a moment. It says what it does on stderr; what the
# installers say goes to .venv/setup.log and is shown only when one of them fails.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd -P)
venv=$root/.venv
lock=setup/requirements.lock
purpose=${1:-}
started=$(date +%s)
log=$(mktemp)
# A package that is installed for its program must not start a service on this machine (invoke-rc.d(8), policy-rc.d).
policy=/usr/sbin/policy-rc.d
held=
hold_services() {
    [ ! -e "$policy" ] || return 0
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    held=yes
}
release_services() { [ -z "$held" ] || rm -f "$policy"; held=; }
trap 'rm -f "$log"; release_services' EXIT
trap 'exit 130' INT TERM

say() { echo "setup: $*" >&2; }

# run STEP COMMAND...: the command's words go to the log; if it fails, the log's end is shown and the step named.
run() {
    step=$1
    shift
    if ! "$@" >>"$log" 2>&1 </dev/null; then
        tail -n 25 "$log" >&2
        say "failed while $step"
        exit 1
    fi
}

# A Python that is new enough and can make virtual environments; prints its path.
find_python() {
    for candidate in ${PYTHON:-} python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
        path=$(command -v "$candidate") || continue
        if "$path" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$path"
            return
        fi
    done
}

is_installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

wanted_packages() {
    sed -e 's/#.*//' setup/apt-packages.txt
    # Who is not root can't install them; tests that need them are skipped then and said to be.
    [ "$purpose" != test ] || [ "$(id -u)" != 0 ] || sed -e 's/#.*//' setup/apt-packages-test.txt
}

missing_packages() {
    wanted_packages | while read -r package; do
        [ -z "$package" ] || is_installed "$package" || printf '%s ' "$package"
    done
    [ -n "$(find_python)" ] || printf 'python3 python3-venv '
}

# Debian's PostgreSQL makes a cluster and starts it when it is installed. Tests start one of their own, and nobody asked for
# another: so it is told not to, unless PostgreSQL is here already and somebody may use it.
no_cluster() {
    case " $missing" in *" postgresql "*) ;; *) return 0 ;; esac
    ! is_installed postgresql-common || return 0
    mkdir -p /etc/postgresql-common/createcluster.d
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/ringfort.conf
}

install_packages() {
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "this is not a Debian system; install the equivalents of: $missing"
        exit 1
    fi
    if [ "$(id -u)" != 0 ]; then
        say "these packages are missing: $missing"
        say "ask for them with: apt-get install $missing"
        exit 1
    fi
    say "installing Debian packages: $missing"
    export DEBIAN_FRONTEND=noninteractive
    no_cluster
    run "updating apt's lists" apt-get update -q
    hold_services
    # shellcheck disable=SC2086  # a list of words
    run "installing Debian packages" apt-get install -q -y --no-install-recommends $missing
    release_services
}

# What the virtual environment was made from. It holds absolute paths, so the place counts too.
fingerprint() { { echo "$root"; "$1" -c 'import sys; print(sys.version)'; cat "$lock" pyproject.toml setup/setup.sh; } | sha256sum; }

is_current() {
    [ -x "$venv/bin/ringfort" ] && [ -f "$venv/setup.stamp" ] && "$venv/bin/python" -c '' 2>/dev/null &&
        [ "$(cat "$venv/setup.stamp")" = "$(fingerprint "$venv/bin/python")" ]
}

# The environment is usable as it is: it is here, its Python runs, and it was made for this place.
is_usable() { "$venv/bin/python" -c 'import pip' 2>/dev/null && head -n 3 "$venv/bin/pip" | grep -qF "$venv/bin/"; }

pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

install_python_packages() {
    if is_current; then return 0; fi
    if ! is_usable; then
        python=$(find_python)
        say "making .venv with $("$python" --version)"
        rm -rf "$venv"
        run "making .venv" "$python" -m venv "$venv"
    fi
    rm -f "$venv/setup.stamp"
    say "installing the locked Python packages (the first time takes a minute or two)"
    run "installing Python packages" pip install --quiet --require-hashes --no-deps -r "$lock"
    run "installing ringfort" pip install --quiet --no-deps --no-build-isolation --no-index -e .
    fingerprint "$venv/bin/python" >"$venv/setup.stamp"
}

install_peers() {
    stamp=$venv/benchmark.stamp
    [ -f "$stamp" ] && cmp -s "$stamp" setup/benchmark.lock && return 0
    say "installing the peers that benchmarks compare with"
    run "installing the peers" pip install --quiet --require-hashes --no-deps -r setup/benchmark.lock
    cp setup/benchmark.lock "$stamp"
}

# Every command and every node starts with bytecode at hand, even where Python is told not to write any
# (PYTHONDONTWRITEBYTECODE): without it each start compiles a hundred modules again.
compile_sources() { "$venv/bin/python" -m compileall -q src >>"$log" 2>&1 || say "src is not writable: commands start slower"; }

# What numba compiles is kept beside its source, so that no large verification has to wait for it.
warm_up() {
    wanted=$(cat "$venv/setup.stamp" src/ringfort/proof/sweep.py | sha256sum)
    [ "$(cat "$venv/warm.stamp" 2>/dev/null)" != "$wanted" ] || return 0
    say "compiling the proof's inner loop (half a minute, once)"
    run "compiling the proof's inner loop" "$venv/bin/python" setup/warm.py
    echo "$wanted" >"$venv/warm.stamp"
}

# The virtual machines' base image. Without root, or where this isn't Debian, sandboxes are not to be had; the rest is.
build_image() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
    wanted=$(cat src/ringfort/compute/image.py src/ringfort/compute/guest/*.py "$venv/setup.stamp" | sha256sum)
    if [ "$(cat "$venv/image.stamp" 2>/dev/null)" = "$wanted" ] && [ -d /var/cache/ringfort ]; then return 0; fi
    say "building the virtual machines' base image (half a minute, once)"
    run "building the base image" "$venv/bin/ringfort" image build --missing
    echo "$wanted" >"$venv/image.stamp"
}

install_packages
install_python_packages
[ "$purpose" != benchmark ] || install_peers
compile_sources
warm_up
build_image
mv "$log" "$venv/setup.log"
seconds=$(($(date +%s) - started))
[ "$seconds" -lt 3 ] || say "done in $seconds s; the command is .venv/bin/ringfort"
