package seed

import (
	"fmt"

	"sower/gpu/checkpoint"
)

// Param is one parameter as the published files name it.
type Param struct {
	Name  string
	Shape []int
}

// bert is the prefix of the Q-Former's names.
const bert = "Qformer.bert."

// CodebookName is the name of the codebook [K D].
const CodebookName = "quantize.embedding.weight"

// visual is the prefix of the vision transformer's names; eva_vit_g.pth has them without it.
const visual = "visual_encoder."

// downWidths are the output widths of image_down, fixed in the published code.
var downWidths = [...]int{256, 128, 32}

// params collects parameters in file order.
type params []Param

func (p *params) add(name string, shape ...int) { *p = append(*p, Param{name, shape}) }

func (p *params) linear(name string, out, in int) {
	p.add(name+".weight", out, in)
	p.add(name+".bias", out)
}

func (p *params) norm(name string, width int) {
	p.add(name+".weight", width)
	p.add(name+".bias", width)
}

// block is a pre-norm transformer block; only the vision transformer's projection has its bias in two parts.
func (p *params) block(name string, width, mlp int, splitBias bool) {
	p.norm(name+"norm1", width)
	if splitBias {
		p.add(name+"attn.q_bias", width)
		p.add(name+"attn.v_bias", width)
		p.add(name+"attn.qkv.weight", 3*width, width)
	} else {
		p.linear(name+"attn.qkv", 3*width, width)
	}
	p.linear(name+"attn.proj", width, width)
	p.norm(name+"norm2", width)
	p.linear(name+"mlp.fc1", mlp, width)
	p.linear(name+"mlp.fc2", width, mlp)
}

func (p *params) codebook(c Config) { p.add(CodebookName, c.Codes, c.CodeWidth) }

func (p *params) decodeTask(c Config) {
	p.linear("decode_task_layer.0", c.CodeWidth, c.CodeWidth)
	p.linear("decode_task_layer.2", c.QFormerWidth, c.CodeWidth)
}

// branch is one of the two stacks of blocks behind the codebook: "" reconstructs the causal embeddings and is used in
// training alone, "_image" leads to the image embedding.
func (p *params) branch(c Config, suffix string) {
	p.add("pos_embed"+suffix, 1, c.Queries, c.QFormerWidth)
	for i := range c.DecodeDepth {
		p.block(fmt.Sprintf("blocks%s.%d.", suffix, i), c.QFormerWidth, c.DecodeMLP, false)
	}
}

func (p *params) imageHead(c Config) {
	in := c.QFormerWidth
	for i, out := range downWidths {
		p.add(fmt.Sprintf("image_down.%d.weight", 2*i), out, in)
		in = out
	}
	p.linear("distill_image_proj", c.ImageEmbed, c.Queries*in)
}

// Encoder lists the parameters that Encode uses, in file order.
func (c Config) Encoder() []Param {
	var p params
	p.add(visual+"cls_token", 1, 1, c.ViTWidth)
	p.add(visual+"pos_embed", 1, c.Patches()+1, c.ViTWidth)
	p.add(visual+"patch_embed.proj.weight", c.ViTWidth, 3, c.PatchSize, c.PatchSize)
	p.add(visual+"patch_embed.proj.bias", c.ViTWidth)
	for i := range c.ViTDepth {
		p.block(fmt.Sprintf("%sblocks.%d.", visual, i), c.ViTWidth, c.ViTMLP, true)
	}
	p.norm("ln_vision", c.ViTWidth)
	p.add("query_tokens", 1, c.Queries, c.QFormerWidth)
	p.norm("Qformer.bert.embeddings.LayerNorm", c.QFormerWidth)
	for i := range c.QFormerDepth {
		name, h := fmt.Sprintf("Qformer.bert.encoder.layer.%d.", i), c.QFormerWidth
		attention := func(kind string, width int) {
			p.linear(name+kind+".self.query", h, h)
			p.linear(name+kind+".self.key", h, width)
			p.linear(name+kind+".self.value", h, width)
			p.linear(name+kind+".output.dense", h, h)
			p.norm(name+kind+".output.LayerNorm", h)
		}
		attention("attention", h)
		if i%c.CrossEvery == 0 {
			attention("crossattention", c.ViTWidth)
		}
		p.linear(name+"intermediate_query.dense", c.QFormerMLP, h)
		p.linear(name+"output_query.dense", h, c.QFormerMLP)
		p.norm(name+"output_query.LayerNorm", h)
	}
	p.linear("encode_task_layer.0", c.QFormerWidth, c.QFormerWidth)
	p.linear("encode_task_layer.2", c.CodeWidth, c.QFormerWidth)
	p.codebook(c)
	return p
}

// Detokenizer lists the parameters that Detokenize uses, in file order.
func (c Config) Detokenizer() []Param {
	var p params
	p.codebook(c)
	p.decodeTask(c)
	p.branch(c, "_image")
	p.imageHead(c)
	return p
}

// Params lists every parameter of the two published files, in file order: those of Encode and Detokenize, and the
// reconstruction branch that only training uses; then those of the text tower and of the painter, where the sizes name them.
func (c Config) Params() []Param {
	p := params(c.Encoder())
	p.decodeTask(c)
	p.branch(c, "")
	p.branch(c, "_image")
	p.imageHead(c)
	p = append(p, c.TextParams()...)
	return append(p, c.painterParams()...)
}

// StandIn is a Source of deterministic weights by rule, for tests and benchmarks; see checkpoint.NewStandIn.
func StandIn(c Config, seed uint64) checkpoint.Source {
	var list []checkpoint.Info
	for _, p := range c.Params() {
		list = append(list, checkpoint.Info{Name: p.Name, Shape: p.Shape})
	}
	return checkpoint.NewStandIn(list, seed)
}
