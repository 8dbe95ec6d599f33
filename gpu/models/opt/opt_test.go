package opt

import (
	"strings"
	"testing"
)

func TestConfigs(t *testing.T) {
	const sizes = `"vocab_size": 10, "hidden_size": 8, "ffn_dim": 4, "num_hidden_layers": 1, "num_attention_heads": 2`
	for text, want := range map[string]string{
		`{` + sizes + `, "do_layer_norm_before": false, "word_embed_proj_dim": 4}`: "this is opt-350m",
		`{` + sizes + `, "word_embed_proj_dim": 4}`:                                "this is opt-350m",
		`{` + sizes + `, "activation_function": "gelu"}`:                           `activation_function is "gelu", want relu`,
		`{` + sizes + `, "enable_bias": false}`:                                    "enable_bias differs",
		`{` + sizes + `, "_remove_final_layer_norm": true}`:                        "_remove_final_layer_norm differs",
		`{"hidden_size": 8, "num_attention_heads": 3}`:                             "vocab_size is 0, want 1 or more",
	} {
		if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q", text, err, want)
		}
	}
	if c, err := ParseConfig([]byte(`{` + sizes + `}`)); err != nil || c.MaxPositionEmbeddings != 2048 || c.WordEmbedProjDim != 8 {
		t.Errorf("what may be absent: %+v, %v", c, err)
	}
}
