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
  tasks=(gsm8k $NI/subtask046_miscellaenous_question_typing $NI/task875_emotion_classification)
  train=(--max-steps 6 --learning-rate 1e-3 --max-length 160 --per-device-train-batch-size 4) test=(--limit 3)
  rm -rf "$out"
fi

"$yosegi" train --base "$base" --library "$out/library" --run "$out" "${train[@]}" "${tasks[@]/#/--task=}"
"$yosegi" library verify "$out/library"
"$yosegi" eval --base "$base" --library "$out/library" --run "$out" --arm experts --arm uniform --arm arrow \
  --arm oracle --arm merge:linear "${test[@]}" "${tasks[@]/#/--task=}"
"$yosegi" report "$out"
test -s "$out/report.html"
if [ "${1:-small}" = small ]; then  # a library of LoRAs on natural instructions: every way to build and to route it, once
  rm -rf "$out.mbc_arrow"
  "$yosegi" run mbc_arrow --base "$base" --run "$out.mbc_arrow" --seen 3 --unseen 1 --seeds 0 --limit 8 --shots 4 --asked 2 \
    --epochs 1 --shot_epochs 1 --clusters 2 --skills 2 --max_length 128 --max_new_tokens 8 --gate_steps 2 --factors arrow
  test -s "$out.mbc_arrow/findings.json"
  rm -rf "$out.soups_cat" "$out.lora_par"  # maths and code for programs, law and questions for law: every way, once
  "$yosegi" run soups_cat --kind real --base "$base" --run "$out.soups_cat" --pairs 2 --seeds 0 --steps 2 --limit 12 --share 0.5 \
    --cat_steps 2 --batch 4 --max_length 128 --chosen_on 2 --asked 2 --ways "CAT,uniform (untrained CAT),TIES,data mix"
  test -s "$out.soups_cat/findings.json"
  "$yosegi" run lora_par --base "$base" --run "$out.lora_par" --tasks gsm8k,mgsm_ja --known "${tasks[2]}" --inits pissa --seeds 0 --warm 1 \
    --limit 12 --asked 2 --measured 4 --thetas 0.9 --grid 1.0 --rank 2 --sft_steps 2 --batch 4 --grpo_steps 2 --questions 2 \
    --generations 3 --max_length 128 --max_completion_length 12 --rewards correct,integer,soft_format,strict_format,tags
  test -s "$out.lora_par/findings.json"
  rm -rf "$out.domain" "$out.domain_merge"  # railway law and its terms, cookery beside it: GaLore, LoRA, their merges
  "$yosegi" run domain --base "$base" --run "$out.domain" --seeds 0 --lora 2 --galore 4 --full false --controls false --equal_time false \
    --timed 0 --lora_rates 0.01 --galore_rates 0.01 --steps 3 --batch 2 --pack 96 --every 3 --watched 2 --passages 2
  test -s "$out.domain/findings.json"
  "$yosegi" run domain_merge --base "$base" --run "$out.domain_merge" --seeds 0 --lora 2 --galore 4 --questions "" --steps 3 \
    --batch 2 --pack 96 --passages 2 --hand_set 0.5 --trials 1 --searched 2
  test -s "$out.domain_merge/findings.json"
fi
echo "real data: ${#tasks[@]} tasks, $(wc -l < "$out/results.jsonl") rows, $out/report.html"
