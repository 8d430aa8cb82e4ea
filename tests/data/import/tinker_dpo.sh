python -m tinker_cookbook.recipes.preference.dpo.train \
    log_path=logs/dpo \
    model_name=meta-llama/Llama-3.2-1B \
    dataset=hhh \
    renderer_name=role_colon \
    learning_rate=1e-5 \
    dpo_beta=0.1
