#!/usr/bin/env bash
# The main job on real data: one expert a task, then base, experts, routers and merges compared on the test splits. The base is
# smollm2 (yosegi doctor --fetch smollm2), in bf16 where the CPU has it.
#   .ci/real_data.sh         small: three tasks, minutes (CI)
#   .ci/real_data.sh full    GSM8K, its Japanese twin and six instruction tasks
set -euo pipefail
cd "$(dirname "$0")/.."
export YOSEGI_DATA="${YOSEGI_DATA:-../shared/data}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(nproc)}" HF_HUB_OFFLINE=1
[ -d "$YOSEGI_DATA" ] || { echo "There is no data in $YOSEGI_DATA: set YOSEGI_DATA." >&2; exit 2; }
yosegi=${YOSEGI:-.venv/bin/yosegi} base=smollm2

NI=natural_instructions
if [ "${1:-small}" = full ]; then
  out=${RUNS:-runs}/real_data
  tasks=(gsm8k mgsm_ja
    $NI/subtask019_mctaco_temporal_reasoning_category $NI/subtask038_qasc_combined_fact
    $NI/subtask044_essential_terms_identifying_essential_words $NI/subtask046_miscellaenous_question_typing
    $NI/task1687_sentiment140_classification $NI/task875_emotion_classification)
  train=(--max-steps 60 --learning-rate 5e-4 --max-length 448 --per-device-train-batch-size 8) test=(--limit 100)
else
  out=${RUNS:-runs}/real_data_small
  tasks=(arc_easy boolq $NI/task875_emotion_classification)
  train=(--max-steps 4 --limit 40 --learning-rate 1e-3 --max-length 160 --per-device-train-batch-size 4) test=(--limit 3)
  rm -rf "$out"
fi

"$yosegi" train --base "$base" --library "$out/library" --run "$out" "${train[@]}" "${tasks[@]/#/--task=}"
"$yosegi" library verify "$out/library"
"$yosegi" eval --base "$base" --library "$out/library" --run "$out" --arm experts --arm uniform --arm arrow \
  --arm oracle --arm merge:linear "${test[@]}" "${tasks[@]/#/--task=}"
"$yosegi" report "$out"
test -s "$out/report.html"
if [ "${1:-small}" = small ]; then  # every recipe once, as small as it goes; without bf16 smollm2 would take them a quarter of an hour
  if [ -z "${RECIPE_BASE:-}" ] && ! grep -qE 'avx512_bf16|amx_bf16' /proc/cpuinfo 2>/dev/null; then
    echo "This CPU has no bf16: the recipes stand on nano (RECIPE_BASE=smollm2 asks for the other)."
    base=nano OMP_NUM_THREADS=1  # a small model loses to thread thrash
  fi
  base=${RECIPE_BASE:-$base}
  recipe() {
    rm -rf "$out.$1"
    "$yosegi" run "$1" --base "$base" --run "$out.$1" --seeds 0 "${@:2}"
    test -s "$out.$1/findings.json"
  }
  recipe mbc_arrow --tasks skills --seen 2 --unseen 1 --limit 6 --shots 2 --asked 1 --epochs 1 --shot_epochs 1 --clusters 2 --skills 2 \
    --max_length 96 --max_new_tokens 4 --gate_steps 1 --factors arrow  # every way to build and to route a library; short prompts
  recipe soups_cat --kind real --pairs 1 --steps 2 --limit 8 --share 0.5 --cat_steps 1 --batch 2 --cat_batch 2 --max_length 96 \
    --chosen_on 1 --asked 1 --ways "CAT,learned routing,uniform (untrained CAT),data mix"
  recipe lora_par --tasks gsm8k,arc_easy --known skills/capital --inits pissa --warm 1 --limit 12 --asked 1 --measured 2 --thetas 0.9 --grid 1.0 \
    --rank 2 --sft_steps 1 --batch 2 --grpo_steps 2 --questions 1 --generations 2 --pilot 1 --grpo_learning_rates 1e-3 --max_length 128 \
    --max_completion_length 8 --rewards correct,integer,soft_format,strict_format,tags
  recipe loramoe --easy en=boolq --hard en=arc_easy --general skills/capital --limit 12 --asked 1 --answer_tokens 4 --shots 0 --kinds both \
    --mixes mixed --experts 2 --rank 2 --betas 0.1 --controls "router off" --rates 5e-3 --steps 1 --batch 2 --max_length 96 --chosen_on 1 \
    --timed 1
  recipe domain --domain invented --lora 2 --galore 4 --full false --controls false --equal_time false --timed 0 --lora_rates 0.01 --galore_rates 0.01 \
    --steps 2 --batch 2 --pack 64 --every 2 --watched 1 --passages 1
  base=nano OMP_NUM_THREADS=1  # a merge by TIES of every trial, and 54 readings of a quiz, take smollm2 ten minutes in fp32
  recipe domain_merge --domain invented --lora 2 --galore 4 --questions "" --steps 2 --batch 2 --pack 64 --passages 1 --hand_set 0.5 --trials 1 --searched 1
fi
echo "real data: ${#tasks[@]} tasks, $(wc -l < "$out/results.jsonl") rows, $out/report.html"
