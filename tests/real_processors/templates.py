"""Chat templates with the markers of the published ones, which do not ship with transformers.

CONTENT stands for a turn's content, PICTURE for what the family writes for a picture.
"""

CONTENT = (
    "{%- if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
    "{%- if c.type == 'image' %}PICTURE{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}"
)
CHATML = (
    "{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}"
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}CONTENT{{ '<|im_end|>\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
THINKING = (
    "{%- set ns = namespace(last=-1) %}"
    "{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{%- if m.role == 'assistant' and loop.index0 > ns.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "CONTENT{{ '<|im_end|>\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}"
    "{%- else %}{{ '<think>\n' }}{% endif %}{% endif %}"
)
"""As Qwen3.5: it thinks unless it is told not to, and leaves the thoughts of earlier answers out."""
GEMMA = (
    "{{ bos_token }}{%- for m in messages %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}CONTENT{{ '<end_of_turn>\n' }}"
    "{%- endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
GEMMA4 = GEMMA.replace("<start_of_turn>", "<|turn>").replace("<end_of_turn>", "<turn|>")
SMOL = (
    "<|im_start|>{% for m in messages %}{{ m.role | capitalize }}"
    "{%- if m.content[0].type == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}CONTENT<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)

GLM = (
    "[gMASK]<sop>{%- for m in messages %}{{ '<|' + m.role + '|>\n' }}CONTENT{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""An answer ends where the next turn begins."""
MISTRAL = (
    "{{ bos_token }}{%- for m in messages %}{% if m.role == 'user' %}[INST]CONTENT[/INST]"
    "{%- else %}CONTENT{{ eos_token }}{% endif %}{% endfor %}"
)
AYA = (
    "{%- for m in messages %}{{ '<|START_OF_TURN_TOKEN|><|' + m.role + '|>' }}CONTENT{{ '<|END_OF_TURN_TOKEN|>' }}"
    "{%- endfor %}{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|assistant|>' }}{% endif %}"
)
LLAVA = (
    "{%- for m in messages %}{{ m.role | upper }}: CONTENT{{ ' ' }}{% endfor %}"
    "{%- if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""An answer has no end of its own."""
