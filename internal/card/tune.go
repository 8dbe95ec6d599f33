package card

import (
	"fmt"
	"strings"

	"sower/schemas"
)

// Tuned is what a card says of a tuned adapter beside its manifest.
type Tuned struct {
	Base                      string
	Steps, Rounds, Parameters int
	Loss                      float64 // of the last step
	Best                      int     // round, -1 without validation
	Validation                []TunedRound
}

// TunedRound is the validation of a round, in nats a token.
type TunedRound struct {
	Round             int
	Loss, Text, Image float64
}

// Tune describes a folder of sower tune.
func Tune(m *schemas.Manifest, t Tuned) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "---\nlibrary_name: peft\nbase_model: %s\ntags:\n- lora\n- seed-tokens\n---\n", t.Base)
	fmt.Fprintf(&b, `# Adapter

A LoRA adapter of %s with token rows for images, made by Sower: %d steps in %d rounds, %d trained numbers, loss of the last
step %.4f. The vocabulary has %d tokens: codes are `+"`<img_00000>`"+` (id %d) and on, between `+"`<img>`"+` (%d) and `+"`</img>`"+` (%d).

`, t.Base, t.Steps, t.Rounds, t.Parameters, t.Loss, m.Vocabulary.Length, m.Vocabulary.Offset, m.Vocabulary.Begin, m.Vocabulary.End)
	fmt.Fprintf(&b, "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\nfrom peft import PeftModel\nbase = AutoModelForCausalLM.from_pretrained(BASE)\n"+
		"base.resize_token_embeddings(%d, mean_resizing=False)\nmodel = PeftModel.from_pretrained(base, THIS_FOLDER)\ntokenizer = AutoTokenizer.from_pretrained(THIS_FOLDER)\n```\n\n", m.Vocabulary.Length)
	b.WriteString("| file | what it is |\n| --- | --- |\n| adapter_config.json, adapter_model.safetensors | the last adapter, as PEFT reads it |\n" +
		"| best/ | the adapter of the round with the least validation loss |\n| metrics.parquet | a row for each step: losses by kind, gradient norm, rate, tokens |\n" +
		"| rounds/ | commits: what a run that was stopped goes on from |\n| _manifest.json | every file with its SHA-256; written last |\n\n")
	if len(t.Validation) > 0 {
		b.WriteString("| round | validation loss | text | image |\n| ---: | ---: | ---: | ---: |\n")
		for _, v := range t.Validation {
			mark := ""
			if v.Round == t.Best {
				mark = " (best)"
			}
			fmt.Fprintf(&b, "| %d%s | %.4f | %.4f | %.4f |\n", v.Round, mark, v.Loss, v.Text, v.Image)
		}
		b.WriteString("\nNats a token.\n")
	}
	b.WriteString("\n## What made it\n\n")
	made(&b, m.Identity)
	return []byte(b.String())
}
