# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for ghostctl(8)                                           -*- shell-script -*-
#
# One function for each command, named after it: _ghostctl_zswap_set for "ghostctl zswap set". It finds the
# word to complete in $cur, the one before in $prev, and the arguments of the command so far in $arguments.

__ghostctl_sizes='ram ram/2 50% 1G 4G 16G 64G'
__ghostctl_changes='pri= discard discard=once discard=pages nofail noauto size= label= uuid= fallback= compressor=
    memory-limit= zswap path='

__ghostctl_words() {
    local word
    for word in $1; do
        [[ $word == "$cur"* ]] && COMPREPLY+=("$word")
    done
}

# words between commas, each once
__ghostctl_list() {
    local word plus=
    [[ $cur == +* ]] && plus=+
    local list=${cur#+}
    local last=${list##*,} head=${list%"${list##*,}"}
    for word in $1; do
        [[ $word == "$last"* && ,$head != *,"$word",* ]] && COMPREPLY+=("$plus$head$word")
    done
    compopt -o nospace 2>/dev/null
}

# false when it completes an option, true when something else is wanted
__ghostctl_options() {
    [[ $cur == -* ]] || return 0
    __ghostctl_words "$1 -q --quiet -v --verbose --color -h --help"
    return 1
}

# those of the lines of its input that go on with what is typed
__ghostctl_paths() {
    local name typed
    case $cur in
    [\'\"]*) typed=${cur:1} ;;
    *) IFS= read typed <<<"$cur" ;;
    esac
    compopt -o filenames 2>/dev/null
    while IFS= read -r name; do
        [[ $name == "$typed"* ]] && COMPREPLY+=("$name")
    done
}

__ghostctl_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$cur")
}

__ghostctl_active() {
    local name
    [[ -r /proc/swaps ]] || return
    {
        read -r
        while read -r name _; do
            printf '%b\n' "$name"
        done
    } </proc/swaps
}

# the files that active areas were made for: zram and others have names of their own
__ghostctl_active_ghosts() {
    local name
    ghostctl status --raw --noheadings -o GHOST 2>/dev/null | while read -r name; do
        [[ $name ]] && printf '%b\n' "$name"
    done
}

# the ghosts of an fstab
__ghostctl_declared() {
    local name
    awk '/^[/]/ && $3 == "swap" && (/x-ghost\./ || /^[/]var[/]lib[/]ghost[/]/) { print $1 }' "$1" 2>/dev/null |
        while read -r name; do
            printf '%b\n' "$name"
        done
}

# those of the next boots, and those in their usual place
__ghostctl_ghosts() {
    __ghostctl_declared /etc/fstab
    compgen -G '/var/lib/ghost/*'
}

# the compressors of zswap in this kernel, loaded or in modules
__ghostctl_compressors() {
    local known='lz4|lz4hc|lzo|lzo-rle|zstd|deflate|842' found
    found=$({
        awk '$1 == "name" { name = $3 } $1 == "type" && $3 ~ /^(scomp|acomp|compression)$/ { print name }' /proc/crypto
        sed -nE "s/^alias crypto-($known) .*/\1/p" "/lib/modules/$(uname -r)/modules.alias"
    } 2>/dev/null)
    echo "${found:-${known//|/ }}"
}

# zram has its own
__ghostctl_zram_compressors() {
    local found
    found=$(cat /sys/block/zram*/comp_algorithm 2>/dev/null)
    if [[ $found ]]; then
        echo "${found//[][]/}"
    else
        __ghostctl_compressors
    fi
}

# labels or UUIDs of the active areas and of the ghosts in their usual place
__ghostctl_tags() {
    local -a areas tags
    local tag
    mapfile -t areas < <(__ghostctl_active)
    mapfile -t tags < <(ghostctl inspect -- "${areas[@]}" /var/lib/ghost/* 2>/dev/null |
        sed -n "s/^  $1  *//p" | sort -u)
    for tag in "${tags[@]}"; do
        [[ $tag == "$cur"* ]] && COMPREPLY+=("$(printf %q "$tag")")
    done
}

# what stands for a swap area, active or not
__ghostctl_area() {
    case $prev in
    -L | --label | LABEL) __ghostctl_tags label ;;
    -U | --uuid | UUID) __ghostctl_tags uuid ;;
    *)
        if [[ $cur == [LU]* ]]; then
            __ghostctl_words 'LABEL= UUID='
            compopt -o nospace 2>/dev/null
        fi
        __ghostctl_files
        __ghostctl_paths < <(__ghostctl_ghosts)
        ;;
    esac
}

__ghostctl_active_area() {
    if [[ ! $prev =~ ^(-L|--label|-U|--uuid|LABEL|UUID)$ && $cur != [LU]* ]]; then
        __ghostctl_paths < <(__ghostctl_active; __ghostctl_active_ghosts)
        ((${#COMPREPLY[@]})) && return
    fi
    __ghostctl_area
}

_ghostctl_setup() {
    case $prev in
    -s | --size) __ghostctl_words "$__ghostctl_sizes" ;;
    -p | --priority) __ghostctl_words '0 1 10 100 32767' ;;
    --fallback) __ghostctl_list 'file ghostswap xswap dm zram' ;;
    -T | --fstab) __ghostctl_files ;;
    *)
        __ghostctl_options '-s --size -p --priority --fallback --no-boot -y --yes -n --dry-run --undo
            -T --fstab --json' && __ghostctl_files
        ;;
    esac
}

_ghostctl_mkghost() {
    case $prev in
    -s | --size) __ghostctl_words "$__ghostctl_sizes" ;;
    -L | --label) ;;
    -U | --uuid) __ghostctl_words 'clear random time' ;;
    -p | --pagesize) __ghostctl_words '4K 8K 16K 32K 64K 128K' ;;
    -e | --endianness) __ghostctl_words 'native little big' ;;
    *)
        __ghostctl_options '-s --size -L --label -U --uuid -p --pagesize -e --endianness --bare -f --force
            --if-needed -n --dry-run --json' && __ghostctl_files
        ;;
    esac
}

_ghostctl_inspect() {
    __ghostctl_options '-L --label -U --uuid --json' && __ghostctl_area
}

_ghostctl_verify() {
    __ghostctl_options '-L --label -U --uuid --strict --json' && __ghostctl_area
}

_ghostctl_label() {
    case $prev in
    -L | --label) ;;
    -U | --uuid) __ghostctl_words 'clear random time' ;;
    *) __ghostctl_options '-L --label -U --uuid --json' && __ghostctl_area ;;
    esac
}

_ghostctl_resize() {
    __ghostctl_options '--cycle --json' || return
    if ((${#arguments[@]})) && [[ $prev != LABEL && $prev != UUID ]]; then
        __ghostctl_words "$__ghostctl_sizes"
    else
        __ghostctl_area
    fi
}

_ghostctl_on() {
    case $prev in
    -p | --priority) __ghostctl_words '-1 0 1 10 100 32767' ;;
    -o | --options)
        __ghostctl_list 'pri= discard discard=once discard=pages nofail x-ghost.compressor= x-ghost.fallback=
            x-ghost.memory-limit= x-ghost.zswap'
        ;;
    -T | --fstab) __ghostctl_files ;;
    --backend) __ghostctl_words 'auto file ghostswap xswap dm zram' ;;
    --fallback) __ghostctl_list 'file ghostswap xswap dm zram' ;;
    --compressor) __ghostctl_words "$(__ghostctl_zram_compressors)" ;;
    --memory-limit) __ghostctl_words "$__ghostctl_sizes" ;;
    --discard) __ghostctl_words 'all once pages' ;;
    *)
        __ghostctl_options '-L --label -U --uuid -a --all -p --priority -d --discard -o --options -e
            --ifexists -T --fstab --if-needed -f --fixpgsz --backend --fallback --compressor --memory-limit
            --enable-zswap --force --json' && __ghostctl_area
        ;;
    esac
}

_ghostctl_off() {
    case $prev in
    --type) __ghostctl_words 'ghost any' ;;
    *)
        __ghostctl_options '-L --label -U --uuid -a --all --type -f --force --json' && __ghostctl_active_area
        ;;
    esac
}

_ghostctl_status() {
    case $prev in
    -o | --output)
        __ghostctl_list 'NAME TYPE SIZE USED PRIO UUID LABEL USE% BACKEND GHOST STORED MEMORY RATIO LIMIT ROOM PAGES BACKING'
        ;;
    --type) __ghostctl_list 'ghost file partition xswap' ;;
    *)
        __ghostctl_options '-L --label -U --uuid -o --output --output-all --type --noheadings --raw --bytes
            --zswap --no-zswap --watch --openmetrics --prometheus --json' && __ghostctl_active_area
        ;;
    esac
}

_ghostctl_usage() {
    local columns='PID USER SWAP RESIDENT UNIT COMMAND'
    [[ " ${COMP_WORDS[*]} " == *' --cgroups '* ]] &&
        columns='NAME SWAP STORED MEMORY RATIO SWAP-MAX ZSWAP-MAX WRITEBACK'
    case $prev in
    -o | --output) __ghostctl_list "$columns" ;;
    -n | --lines) __ghostctl_words '5 10 20 50' ;;
    *)
        __ghostctl_options '--processes --cgroups -n --lines -o --output --noheadings --raw --bytes --watch --json'
        ;;
    esac
}

_ghostctl_doctor() {
    case $prev in
    --require) __ghostctl_words 'ghost ghostswap xswap dm zram zswap room' ;;
    --explain)
        __ghostctl_words 'kernel zswap pool size slots page-size holes permissions header active priority
            fstab resume swappiness cgroup'
        ;;
    *) __ghostctl_options '--probe --require --explain --strict --json' ;;
    esac
}

_ghostctl_plan() {
    case $prev in
    --ratio) ;;
    --pool-percent) __ghostctl_words '10 20 30 40 50 60 70 80 90' ;;
    --pid) mapfile -t COMPREPLY < <(cd /proc && compgen -G "$cur[0-9]*") ;;
    --cgroup) __ghostctl_files ;;
    *) __ghostctl_options '--ratio --pool-percent --pid --cgroup --json' ;;
    esac
}

_ghostctl_zswap() {
    __ghostctl_options '--json' && __ghostctl_words 'show set'
}

_ghostctl_zswap_show() {
    __ghostctl_options '--json'
}

# what zswap of this kernel has
__ghostctl_parameters() {
    local path
    [[ -d /sys/module/zswap/parameters ]] ||
        echo 'enabled= compressor= max_pool_percent= accept_threshold_percent= shrinker='
    compgen -G '/sys/module/zswap/parameters/*' | while read -r path; do
        path=${path##*/}
        echo "${path/#shrinker_enabled/shrinker}="
    done
}

_ghostctl_zswap_set() {
    case $prev in
    enabled | *_enabled | shrinker) __ghostctl_words 'yes no' ;;
    compressor) __ghostctl_words "$(__ghostctl_compressors)" ;;
    max_pool_percent) __ghostctl_words '10 20 30 40 50 60 70 80 90' ;;
    accept_threshold_percent | zpool) ;;
    *)
        __ghostctl_options '--persist --forget --json' || return
        __ghostctl_words "$(__ghostctl_parameters)"
        compopt -o nospace 2>/dev/null
        ;;
    esac
}

_ghostctl_fstab() {
    __ghostctl_options '' && __ghostctl_words 'add check ensure install-generator list remove set'
}

# the ghosts of the fstab that is meant
__ghostctl_fstab_files() {
    local fstab=/etc/fstab i
    for ((i = 2; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == -T || ${COMP_WORDS[i]} == --fstab ]] || continue
        fstab=${COMP_WORDS[i + 1]}
        [[ $fstab == = ]] && fstab=${COMP_WORDS[i + 2]}
    done
    __ghostctl_paths < <(__ghostctl_declared "$fstab")
}

_ghostctl_fstab_add() {
    case $prev in
    -s | --size) __ghostctl_words "$__ghostctl_sizes" ;;
    -p | --priority) __ghostctl_words '-1 0 1 10 100 32767' ;;
    -L | --label) ;;
    -U | --uuid) __ghostctl_words 'clear random time' ;;
    --fallback) __ghostctl_list 'skip file ghostswap xswap dm zram' ;;
    --compressor) __ghostctl_words "$(__ghostctl_zram_compressors)" ;;
    --memory-limit) __ghostctl_words "$__ghostctl_sizes" ;;
    -T | --fstab) __ghostctl_files ;;
    *)
        __ghostctl_options '-s --size -p --priority -L --label -U --uuid --nofail --noauto --fallback
            --compressor --memory-limit --zswap --now -n --dry-run -T --fstab --json' && __ghostctl_files
        ;;
    esac
}

_ghostctl_fstab_check() {
    case $prev in
    -T | --fstab) __ghostctl_files ;;
    *) __ghostctl_options '-T --fstab --strict --json' && __ghostctl_fstab_files ;;
    esac
}

_ghostctl_fstab_ensure() {
    case $prev in
    -T | --fstab) __ghostctl_files ;;
    *) __ghostctl_options '-T --fstab --json' && __ghostctl_fstab_files ;;
    esac
}

_ghostctl_fstab_install-generator() {
    case $prev in
    --directory) __ghostctl_files ;;
    *) __ghostctl_options '--directory --remove' ;;
    esac
}

_ghostctl_fstab_list() {
    case $prev in
    -T | --fstab) __ghostctl_files ;;
    *) __ghostctl_options '-T --fstab --json' ;;
    esac
}

_ghostctl_fstab_remove() {
    case $prev in
    -T | --fstab) __ghostctl_files ;;
    *) __ghostctl_options '-n --dry-run -T --fstab --json' && __ghostctl_fstab_files ;;
    esac
}

_ghostctl_fstab_set() {
    case $prev in
    -T | --fstab) __ghostctl_files ;;
    discard) __ghostctl_words 'once pages' ;;
    pri) __ghostctl_words '-1 0 1 10 100 32767' ;;
    fallback | x-ghost.fallback) __ghostctl_list 'skip file ghostswap xswap dm zram' ;;
    compressor | x-ghost.compressor) __ghostctl_words "$(__ghostctl_zram_compressors)" ;;
    size | memory-limit | x-ghost.size | x-ghost.memory-limit) __ghostctl_words "$__ghostctl_sizes" ;;
    label | uuid | x-ghost.label | x-ghost.uuid) ;;
    path) __ghostctl_files ;;
    *)
        __ghostctl_options '-n --dry-run -T --fstab --json' || return
        if ((${#arguments[@]})); then
            __ghostctl_words "$__ghostctl_changes"
            [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
        else
            __ghostctl_fstab_files
        fi
        ;;
    esac
}

_ghostctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=_ghostctl i word
    local -a arguments=()
    COMPREPLY=()
    # "=" is a word of its own
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
        --color | -T | --fstab)
            [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
            ((i++))
            ;;
        -* | =) ;;
        *)
            if ((${#arguments[@]} == 0)) && declare -F "${command}_$word" >/dev/null; then
                command+=_$word
            else
                arguments+=("$word")
            fi
            ;;
        esac
    done
    if [[ $prev == --color ]]; then
        __ghostctl_words 'auto always never'
    elif [[ $command != _ghostctl ]]; then
        "$command"
    elif __ghostctl_options '-V --version'; then
        __ghostctl_words 'setup mkghost inspect verify label resize on off status usage doctor plan zswap fstab'
    fi
}

complete -F _ghostctl ghostctl
