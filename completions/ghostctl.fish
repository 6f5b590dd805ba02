# SPDX-License-Identifier: GPL-2.0-or-later
# fish completion for ghostctl(8)

# the command and its arguments so far, without options
function __ghostctl_words
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case --color
                set -e words[1]
            case '-*'
            case '*'
                echo -- $words[1]
        end
        set -e words[1]
    end
end

# exactly this command was given
function __ghostctl_at
    set -l words (__ghostctl_words)
    test "$words" = "$argv"
end

# this command was given, with or without arguments
function __ghostctl_in
    set -l words (__ghostctl_words)
    test (count $words) -ge (count $argv); and test "$words[1..$(count $argv)]" = "$argv"
end

function __ghostctl_active
    test -r /proc/swaps; and tail -n +2 /proc/swaps | string replace -r '[ \t].*' '' | while read -l name
        set name (printf '%b' $name)
        string match -q '/*' -- $name; and printf '%s\tactive\n' $name; or echo -- $name
    end
end

# there are active areas that go on with what is typed
function __ghostctl_is_active
    set -l typed (string unescape -- (commandline -ct); or commandline -ct)
    __ghostctl_active | string match -rq -- '^'(string escape --style=regex -- "$typed")
end

# the files that active areas were made for: zram and others have names of their own
function __ghostctl_active_ghosts
    ghostctl status --raw --noheadings -o GHOST 2>/dev/null | string match -v '' | while read -l name
        printf '%b\tactive\n' $name
    end
end

# the ghosts of an fstab
function __ghostctl_declared
    awk '/^[/]/ && $3 == "swap" && (/x-ghost\./ || /^[/]var[/]lib[/]ghost[/]/) { print $1 }' $argv[1] 2>/dev/null |
        while read -l name
            printf '%b\n' $name
        end
end

# those of the next boots, and those in their usual place
function __ghostctl_ghosts
    set -l files /var/lib/ghost/*
    printf '%s\tghost\n' (__ghostctl_declared /etc/fstab) $files | string match '/*'
end

# the compressors of zswap in this kernel, loaded or in modules
function __ghostctl_compressors
    set -l known lz4 lz4hc lzo lzo-rle zstd deflate 842
    set -l names (string join '|' $known)
    set -l found (begin
        awk '$1 == "name" { name = $3 } $1 == "type" && $3 ~ /^(scomp|acomp|compression)$/ { print name }' /proc/crypto
        sed -nE "s/^alias crypto-($names) .*/\1/p" /lib/modules/(uname -r)/modules.alias
    end 2>/dev/null)
    set -q found[1]; or set found $known
    printf '%s\n' $found
end

# zram has its own
function __ghostctl_zram_compressors
    set -l files /sys/block/zram*/comp_algorithm
    set -l found (cat /dev/null $files 2>/dev/null | string match -ra '[^][ ]+')
    set -q found[1]; and printf '%s\n' $found; or __ghostctl_compressors
end

# what zswap of this kernel has
function __ghostctl_parameters
    set -l names enabled compressor max_pool_percent accept_threshold_percent shrinker
    set -l files /sys/module/zswap/parameters/*
    set -q files[1]; and set names (string replace -r '.*/' '' -- $files)
    for name in $names
        switch $name
            case compressor
                printf 'compressor=%s\tWhat compresses the pages\n' (__ghostctl_compressors)
            case enabled
                printf 'enabled=%s\tzswap on or off\n' yes no
            case shrinker shrinker_enabled
                printf 'shrinker=%s\tWrite cold pages back early\n' yes no
            case '*_enabled'
                printf "$name=%s\n" yes no
            case max_pool_percent
                printf 'max_pool_percent=%s\tLimit of the pool\n' (seq 10 10 90)
            case accept_threshold_percent
                printf '%s=\tWhen a full pool takes pages\n' $name
            case '*'
                echo $name=
        end
    end
end

# changes of a line in fstab
function __ghostctl_changes
    set -l token (commandline -ct)
    set -l key (string match -r '^[^=]*=' -- $token)
    switch "$key"
        case 'fallback=' 'x-ghost.fallback='
            set -l head (string match -r '^.*[=,]' -- $token)
            for word in skip file ghostswap xswap dm zram
                contains -- $word (string split , (string replace -r '^[^=]*=' '' -- $head)); or echo -- $head$word
            end
        case 'compressor=' 'x-ghost.compressor='
            printf "$key%s\n" (__ghostctl_zram_compressors)
        case 'size=' 'x-ghost.size=' 'memory-limit=' 'x-ghost.memory-limit='
            string replace -r '^' $key ram ram/2 50% 1G 4G 16G 64G
        case 'pri='
            printf 'pri=%s\n' -1 0 1 10 100 32767
        case 'path='
            __fish_complete_path (string replace path= '' -- $token) | string replace -r '^' path=
        case '*'
            printf '%s\n' pri= discard discard=once discard=pages nofail noauto size= label= uuid= fallback= \
                compressor= memory-limit= zswap path=
    end
end

# labels or UUIDs of the active areas and of the ghosts in their usual place
function __ghostctl_tags
    set -l areas (__ghostctl_active | string replace -r '\t.*' '') /var/lib/ghost/*
    ghostctl inspect -- $areas 2>/dev/null | string replace -rf "^  $argv[1] +" ''
end

# LABEL= and UUID=, with the values that there are
function __ghostctl_tagged
    set -l token (commandline -ct)
    switch $token
        case 'LABEL=*' 'UUID=*'
            set -l key (string split -f 1 = -- $token)
            __ghostctl_tags (string lower $key) | string replace -r '^' "$key="
        case 'L*' 'U*'
            printf '%s\n' LABEL= UUID=
    end
end

# comma lists
function __ghostctl_list
    set -l token (string replace -r '^--?[a-z-]+=' '' -- (commandline -ct))
    set -l head (string match -r '^\+?(?:.*,)?' -- $token)
    for word in $argv
        contains -- $word (string split , -- (string trim -lc + -- $head)); or echo -- $head$word
    end
end

set -l sizes 'ram ram/2 50% 1G 4G 16G 64G'
set -l columns 'NAME TYPE SIZE USED PRIO UUID LABEL USE% BACKEND GHOST STORED MEMORY RATIO LIMIT ROOM PAGES BACKING'
set -l process_columns 'PID USER SWAP RESIDENT UNIT COMMAND'
set -l cgroup_columns 'NAME SWAP STORED MEMORY RATIO SWAP-MAX ZSWAP-MAX WRITEBACK'
set -l checks 'kernel zswap pool size slots page-size holes permissions header active priority fstab resume swappiness cgroup'
set -l fstab_options 'pri= discard discard=once discard=pages nofail x-ghost.compressor= x-ghost.fallback= x-ghost.memory-limit= x-ghost.zswap'

complete -c ghostctl -f
complete -c ghostctl -s h -l help -d 'Show how it is used'
complete -c ghostctl -s q -l quiet -d 'No warnings and no progress'
complete -c ghostctl -s v -l verbose -d 'Say what is done'
complete -c ghostctl -l color -x -a 'auto always never' -d 'Colour the output'

complete -c ghostctl -n '__ghostctl_at' -s V -l version -d 'Show the version'
complete -c ghostctl -n '__ghostctl_at' -a setup -d 'Set up a ghost, all in one'
complete -c ghostctl -n '__ghostctl_at' -a mkghost -d 'Create a ghost'
complete -c ghostctl -n '__ghostctl_at' -a inspect -d 'Show every field of a swap header'
complete -c ghostctl -n '__ghostctl_at' -a verify -d 'Check ghost files for problems'
complete -c ghostctl -n '__ghostctl_at' -a label -d 'Show or change label and UUID'
complete -c ghostctl -n '__ghostctl_at' -a resize -d 'Change the declared size of a ghost'
complete -c ghostctl -n '__ghostctl_at' -a on -d 'Activate swap areas'
complete -c ghostctl -n '__ghostctl_at' -a off -d 'Deactivate swap areas'
complete -c ghostctl -n '__ghostctl_at' -a status -d 'Show the active swap areas and zswap'
complete -c ghostctl -n '__ghostctl_at' -a usage -d 'Show who has pages in the swap areas'
complete -c ghostctl -n '__ghostctl_at' -a doctor -d 'Check whether this machine can use ghosts'
complete -c ghostctl -n '__ghostctl_at' -a plan -d 'Propose a size for a ghost'
complete -c ghostctl -n '__ghostctl_at' -a zswap -d 'Show or set zswap'
complete -c ghostctl -n '__ghostctl_at' -a fstab -d 'Show, check and edit the ghosts in /etc/fstab'

# what stands for an area
for command in inspect verify on off status
    complete -c ghostctl -n "__ghostctl_in $command" -s L -l label -x -a '(__ghostctl_tags label)' \
        -d 'The area with this label'
    complete -c ghostctl -n "__ghostctl_in $command" -s U -l uuid -x -a '(__ghostctl_tags uuid)' \
        -d 'The area with this UUID'
end
for command in inspect verify label on
    complete -c ghostctl -n "__ghostctl_in $command" -F -a '(__ghostctl_tagged)'
end
for command in off status
    complete -c ghostctl -n "__ghostctl_in $command" -a '(__ghostctl_tagged)'
    complete -c ghostctl -n "__ghostctl_in $command; and not __ghostctl_is_active" -F
end
for command in off status
    complete -c ghostctl -n "__ghostctl_in $command" -a '(__ghostctl_active; __ghostctl_active_ghosts)'
end
for command in inspect verify label on
    complete -c ghostctl -n "__ghostctl_in $command" -a '(__ghostctl_ghosts)'
end
complete -c ghostctl -n '__ghostctl_at resize' -F -a '(__ghostctl_tagged; __ghostctl_ghosts)'
complete -c ghostctl -n '__ghostctl_in mkghost' -F

# setup
complete -c ghostctl -n '__ghostctl_in setup' -F
complete -c ghostctl -n '__ghostctl_in setup' -s s -l size -x -a "$sizes" -d 'Size that the ghost declares'
complete -c ghostctl -n '__ghostctl_in setup' -s p -l priority -x -a '0 1 10 100 32767' -d Priority
complete -c ghostctl -n '__ghostctl_in setup' -l fallback -x -a '(__ghostctl_list file ghostswap xswap dm zram)' \
    -d 'For a kernel without ghosts'
complete -c ghostctl -n '__ghostctl_in setup' -l no-boot -d 'Not for the next boots'
complete -c ghostctl -n '__ghostctl_in setup' -s y -l yes -d 'Do not ask'
complete -c ghostctl -n '__ghostctl_in setup' -s n -l dry-run -d 'Show what would be done'
complete -c ghostctl -n '__ghostctl_in setup' -l undo -d 'Take back what setup has done'
complete -c ghostctl -n '__ghostctl_in setup' -s T -l fstab -r -F -d 'Instead of /etc/fstab'
complete -c ghostctl -n '__ghostctl_in setup' -l json -d 'Print one JSON object'

# mkghost
complete -c ghostctl -n '__ghostctl_in mkghost' -s s -l size -x -a "$sizes" -d 'Size that the area declares'
complete -c ghostctl -n '__ghostctl_in mkghost' -s L -l label -x -d 'Label'
complete -c ghostctl -n '__ghostctl_in mkghost' -s U -l uuid -x -a 'clear random time' -d UUID
complete -c ghostctl -n '__ghostctl_in mkghost' -s p -l pagesize -x -a '4K 8K 16K 32K 64K 128K' -d 'Page size'
complete -c ghostctl -n '__ghostctl_in mkghost' -s e -l endianness -x -a 'native little big' -d 'Byte order'
complete -c ghostctl -n '__ghostctl_in mkghost' -l bare -d 'Without the ghost tag'
complete -c ghostctl -n '__ghostctl_in mkghost' -s f -l force -d 'Replace an existing regular file'
complete -c ghostctl -n '__ghostctl_in mkghost' -l if-needed -d 'Only where it is missing or another'
complete -c ghostctl -n '__ghostctl_in mkghost' -s n -l dry-run -d 'Write nothing'
complete -c ghostctl -n '__ghostctl_in mkghost' -l json -d 'Print one JSON object'

# inspect
complete -c ghostctl -n '__ghostctl_in inspect' -l json -d 'Print one JSON object'

# verify
complete -c ghostctl -n '__ghostctl_in verify' -l strict -d 'Treat warnings as errors'
complete -c ghostctl -n '__ghostctl_in verify' -l json -d 'Print one JSON object'

# label
complete -c ghostctl -n '__ghostctl_in label' -s L -l label -x -d 'New label'
complete -c ghostctl -n '__ghostctl_in label' -s U -l uuid -x -a 'clear random time' -d 'New UUID'
complete -c ghostctl -n '__ghostctl_in label' -l json -d 'Print one JSON object'

# resize
complete -c ghostctl -n '__ghostctl_in resize; and not __ghostctl_at resize' -a "$sizes"
complete -c ghostctl -n '__ghostctl_in resize' -l cycle -d 'Off, resize, on with the same priority'
complete -c ghostctl -n '__ghostctl_in resize' -l json -d 'Print one JSON object'

# on
complete -c ghostctl -n '__ghostctl_in on' -s a -l all -d 'The ghosts in fstab'
complete -c ghostctl -n '__ghostctl_in on' -s p -l priority -x -a '-1 0 1 10 100 32767' -d Priority
complete -c ghostctl -n '__ghostctl_in on' -s d -d 'Discard free space'
complete -c ghostctl -n '__ghostctl_in on' -l discard -f -a 'all once pages' -d 'Discard free space'
complete -c ghostctl -n '__ghostctl_in on' -s o -l options -x -a "(__ghostctl_list $fstab_options)" \
    -d 'Options as in fstab'
complete -c ghostctl -n '__ghostctl_in on' -s e -l ifexists -d 'Skip areas that do not exist'
complete -c ghostctl -n '__ghostctl_in on' -s T -l fstab -r -F -d 'Instead of /etc/fstab'
complete -c ghostctl -n '__ghostctl_in on' -l if-needed -d 'Do nothing when it is active already'
complete -c ghostctl -n '__ghostctl_in on' -s f -l fixpgsz -d 'Rewrite a ghost made for another page size'
complete -c ghostctl -n '__ghostctl_in on' -l backend -x -a 'auto file ghostswap xswap dm zram' -d 'What makes a ghost active'
complete -c ghostctl -n '__ghostctl_in on' -l fallback -x -a '(__ghostctl_list file ghostswap xswap dm zram)' \
    -d 'When the kernel takes no ghosts'
complete -c ghostctl -n '__ghostctl_in on' -l compressor -x -a '(__ghostctl_zram_compressors)' -d 'Compressor of zram'
complete -c ghostctl -n '__ghostctl_in on' -l memory-limit -x -a "$sizes" -d 'Memory that zram may take'
complete -c ghostctl -n '__ghostctl_in on' -l enable-zswap -d 'Turn zswap on when it is off'
complete -c ghostctl -n '__ghostctl_in on' -l force -d 'Warn where a check would refuse'
complete -c ghostctl -n '__ghostctl_in on' -l json -d 'Print one JSON object'

# off
complete -c ghostctl -n '__ghostctl_in off' -s a -l all -d 'All active ghosts'
complete -c ghostctl -n '__ghostctl_in off' -l type -x -a 'ghost any' -d 'With --all'
complete -c ghostctl -n '__ghostctl_in off' -s f -l force -d 'Try even when the pages fit nowhere'
complete -c ghostctl -n '__ghostctl_in off' -l json -d 'Print one JSON object'

# status
complete -c ghostctl -n '__ghostctl_in status' -s o -l output -x -a "(__ghostctl_list $columns)" -d 'Columns to show'
complete -c ghostctl -n '__ghostctl_in status' -l output-all -d 'Show all columns'
complete -c ghostctl -n '__ghostctl_in status' -l type -x -a '(__ghostctl_list ghost file partition xswap)' \
    -d 'Only areas of these types'
complete -c ghostctl -n '__ghostctl_in status' -l noheadings -d 'No line of column names'
complete -c ghostctl -n '__ghostctl_in status' -l raw -d 'For scripts'
complete -c ghostctl -n '__ghostctl_in status' -l bytes -d 'Sizes in bytes'
complete -c ghostctl -n '__ghostctl_in status' -l zswap -d 'Show zswap below the table'
complete -c ghostctl -n '__ghostctl_in status' -l no-zswap -d 'Do not show zswap'
complete -c ghostctl -n '__ghostctl_in status' -l watch -d 'Live view'
complete -c ghostctl -n '__ghostctl_in status' -l openmetrics -d 'Print OpenMetrics text'
complete -c ghostctl -n '__ghostctl_in status' -l prometheus -d 'Print the older text format'
complete -c ghostctl -n '__ghostctl_in status' -l json -d 'Print one JSON object'

# usage
complete -c ghostctl -n '__ghostctl_in usage' -l processes -d 'Show processes'
complete -c ghostctl -n '__ghostctl_in usage' -l cgroups -d 'Show cgroups'
complete -c ghostctl -n '__ghostctl_in usage' -s n -l lines -x -a '5 10 20 50' -d 'The largest only'
complete -c ghostctl -n '__ghostctl_in usage; and not __fish_contains_opt cgroups' -s o -l output -x \
    -a "(__ghostctl_list $process_columns)" -d 'Columns to show'
complete -c ghostctl -n '__ghostctl_in usage; and __fish_contains_opt cgroups' -s o -l output -x \
    -a "(__ghostctl_list $cgroup_columns)" -d 'Columns to show'
complete -c ghostctl -n '__ghostctl_in usage' -l noheadings -d 'No line of column names'
complete -c ghostctl -n '__ghostctl_in usage' -l raw -d 'For scripts'
complete -c ghostctl -n '__ghostctl_in usage' -l bytes -d 'Sizes in bytes'
complete -c ghostctl -n '__ghostctl_in usage' -l watch -d 'Live view'
complete -c ghostctl -n '__ghostctl_in usage' -l json -d 'Print one JSON object'

# doctor
complete -c ghostctl -n '__ghostctl_in doctor' -l probe -d 'Activate a throw-away ghost to know'
complete -c ghostctl -n '__ghostctl_in doctor' -l require -x -a 'ghost ghostswap xswap dm zram zswap room' -d 'For scripts'
complete -c ghostctl -n '__ghostctl_in doctor' -l explain -x -a "$checks" -d 'Say what a check is about'
complete -c ghostctl -n '__ghostctl_in doctor' -l strict -d 'Treat warnings as errors'
complete -c ghostctl -n '__ghostctl_in doctor' -l json -d 'Print one JSON object'

# plan
complete -c ghostctl -n '__ghostctl_in plan' -l ratio -x -d 'Compression ratio'
complete -c ghostctl -n '__ghostctl_in plan' -l pool-percent -x -a '10 20 30 40 50 60 70 80 90' \
    -d 'Limit of the pool'
complete -c ghostctl -n '__ghostctl_in plan' -l pid -x -a '(__fish_complete_pids)' -d 'Sample this process'
complete -c ghostctl -n '__ghostctl_in plan' -l cgroup -x -a '(__fish_complete_directories)' -d 'Sample this cgroup'
complete -c ghostctl -n '__ghostctl_in plan' -l json -d 'Print one JSON object'

# zswap
complete -c ghostctl -n '__ghostctl_at zswap' -a show -d 'Show parameters and counters'
complete -c ghostctl -n '__ghostctl_at zswap' -a set -d 'Set parameters'
complete -c ghostctl -n '__ghostctl_at zswap' -l json -d 'Print one JSON object'
complete -c ghostctl -n '__ghostctl_in zswap show' -l json -d 'Print one JSON object'
complete -c ghostctl -n '__ghostctl_in zswap set' -a '(__ghostctl_parameters)'
complete -c ghostctl -n '__ghostctl_in zswap set' -l persist -d 'Also for the next boots'
complete -c ghostctl -n '__ghostctl_in zswap set' -l forget -d 'No longer for the next boots'
complete -c ghostctl -n '__ghostctl_in zswap set' -l json -d 'Print one JSON object'

# fstab
function __ghostctl_fstab_files
    set -l file (string match -rg -- '(?:-T|--fstab)[ =]?(\S+)' (commandline -pc)); or set file /etc/fstab
    __ghostctl_declared $file
end
for command in add check ensure list remove set
    complete -c ghostctl -n "__ghostctl_in fstab $command" -s T -l fstab -r -F -d 'Instead of /etc/fstab'
end
for command in add ensure remove set
    complete -c ghostctl -n "__ghostctl_in fstab $command" -l json -d 'Print one JSON object'
end
for command in check ensure remove set
    complete -c ghostctl -n "__ghostctl_in fstab $command" -a '(__ghostctl_fstab_files)'
end
complete -c ghostctl -n '__ghostctl_at fstab' -a add -d 'Add a line'
complete -c ghostctl -n '__ghostctl_at fstab' -a check -d 'Show what could go wrong'
complete -c ghostctl -n '__ghostctl_at fstab' -a ensure -d 'Make what is missing'
complete -c ghostctl -n '__ghostctl_at fstab' -a install-generator -d "Have systemd run this ghostctl's generator"
complete -c ghostctl -n '__ghostctl_at fstab' -a list -d 'Show the ghosts'
complete -c ghostctl -n '__ghostctl_at fstab' -a remove -d 'Remove a line'
complete -c ghostctl -n '__ghostctl_at fstab' -a set -d 'Change options of a line'
complete -c ghostctl -n '__ghostctl_in fstab add' -F
complete -c ghostctl -n '__ghostctl_in fstab add' -s s -l size -x -a "$sizes" -d 'Size to make the ghost with'
complete -c ghostctl -n '__ghostctl_in fstab add' -s p -l priority -x -a '-1 0 1 10 100 32767' -d Priority
complete -c ghostctl -n '__ghostctl_in fstab add' -s L -l label -x -d 'Label to make the ghost with'
complete -c ghostctl -n '__ghostctl_in fstab add' -s U -l uuid -x -a 'clear random time' -d 'UUID to make the ghost with'
complete -c ghostctl -n '__ghostctl_in fstab add' -l nofail -d 'Boot quietly without it'
complete -c ghostctl -n '__ghostctl_in fstab add' -l noauto -d 'Do not activate it in the boot'
complete -c ghostctl -n '__ghostctl_in fstab add' -l fallback -x -a '(__ghostctl_list skip file ghostswap xswap dm zram)' \
    -d 'For a kernel without ghosts'
complete -c ghostctl -n '__ghostctl_in fstab add' -l compressor -x -a '(__ghostctl_zram_compressors)' -d 'Of zram'
complete -c ghostctl -n '__ghostctl_in fstab add' -l memory-limit -x -a "$sizes" -d 'Memory that zram may take'
complete -c ghostctl -n '__ghostctl_in fstab add' -l zswap -d 'Turn zswap on in the boot'
complete -c ghostctl -n '__ghostctl_in fstab add' -l now -d 'Make and activate it now as well'
complete -c ghostctl -n '__ghostctl_in fstab add' -s n -l dry-run -d 'Write nothing'
complete -c ghostctl -n '__ghostctl_in fstab check' -l strict -d 'Treat warnings as errors'
complete -c ghostctl -n '__ghostctl_in fstab check' -l json -d 'Print one JSON object'
complete -c ghostctl -n '__ghostctl_in fstab install-generator' -l directory -x -a '(__fish_complete_directories)' \
    -d 'Where to install it'
complete -c ghostctl -n '__ghostctl_in fstab install-generator' -l remove -d 'Remove it again'
complete -c ghostctl -n '__ghostctl_in fstab list' -l json -d 'Print one JSON object'
complete -c ghostctl -n '__ghostctl_in fstab remove' -s n -l dry-run -d 'Write nothing'
complete -c ghostctl -n '__ghostctl_in fstab set' -s n -l dry-run -d 'Write nothing'
complete -c ghostctl -n '__ghostctl_in fstab set' -a '(__ghostctl_changes)' -d Option
