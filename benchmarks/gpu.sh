#!/usr/bin/env bash
# All that there is to measure on a GPU, in one call of ten minutes:
#
#     benchmarks/gpu.sh OUT [DATA]
#
# runs the tests marked `gpu`, trains CIFAR-100 classifiers with VFC and its undefended twin in front of one of them, and
# attacks it with the whole ladder, all on the whole data. DATA is a folder with unpack.py and the images as WebP strips
# (default: shared/data, or ../shared/data). What is not done in its share of the time is stopped as by Ctrl-C, so that
# the attack leaves a partial report. OUT/steps.tsv says what each step took, and how it ended: 0 done, 124 out of time.
#
# TINY=1 does the same with the embedded digits and very short training on the CPU, to see that the script works.
set -u
out=${1:?usage: benchmarks/gpu.sh OUT [DATA]}
data=${2:-$([ -d shared/data ] && echo shared/data || echo ../shared/data)}
python=${PYTHON:-python}
mkdir -p "$out"
out=$(cd "$out" && pwd)
export VFC_CACHE_DIR=$out/cache
printf 'step\tseconds\tcode\n' > "$out/steps.tsv"
failed=0

# step NAME SECONDS COMMAND...: run it, at most so long, with its output in OUT/NAME.txt.
step() {
    local name=$1 limit=$2 begun code
    shift 2
    begun=$(date +%s.%N)
    timeout --signal=INT --kill-after=20 "$limit" "$@" > "$out/$name.txt" 2>&1
    code=$?
    printf '%s\t%.1f\t%s\n' "$name" "$(echo "$(date +%s.%N) $begun" | awk '{print $1 - $2}')" "$code" >> "$out/steps.tsv"
    # A measured run without gates ends in 0, or in 3 where something could not be measured.
    case $code in 0 | 3 | 124) ;; *) failed=1; tail -n 20 "$out/$name.txt" >&2 ;; esac
}

if [ "${TINY:-0}" = 1 ]; then
    device=cpu
    set -- --dataset digits --unintended mlp --width 0.25 --set train.steps=20 --set vfc.epochs=1 --set vfc.latent=8
    attack=(--protocol transfer)
else
    device=cuda
    step unpack 60 "$python" "$data/unpack.py" cifar100 --out "$out"
    set -- --dataset "npz:$out/cifar100.npz" --task fine --target resnet20 --width 1
    attack=(--protocol adaptive-probe)
    step machine 30 "$python" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())'
    step tests 90 "$python" -m pytest -n 0 -m gpu tests
fi
step train 200 "$python" -m vfc train "$@" --device "$device" --out "$out/run"
step attack 240 "$python" -m vfc attack --release "$out/run" "${attack[@]}" --budget smoke --device "$device" --out "$out/attack"
cat "$out/steps.tsv"
exit $failed
