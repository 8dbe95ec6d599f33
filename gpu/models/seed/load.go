package seed

import (
	"fmt"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/nn"
)

// Parts says what of a model to load.
type Parts uint8

// The parts of a model.
const (
	Encode     Parts = 1 << iota // 1.09 billion parameters at the published size, 4.4 GB
	Detokenize                   // 30 million, 0.12 GB
	// Texts is the text tower, Reconstruct the branch that gives causal embeddings back, Painting the painter: what training and
	// evaluation need, and not every model has.
	Texts
	Reconstruct
	Painting
)

// CLIP's mean and standard deviation of red, green and blue, of values in [0, 1].
var (
	pixelMean = [3]float32{0.48145466, 0.4578275, 0.40821073}
	pixelStd  = [3]float32{0.26862954, 0.26130258, 0.27577711}
)

// Load reads a model of the given sizes onto a device. Tensors that the parts do not use are ignored, whatever else the
// source holds. Weights are packed as they are read; the source may be closed afterwards.
func Load(dev *gpu.Device, src checkpoint.Source, c Config, parts Parts) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if parts&(Encode|Detokenize) == 0 {
		return nil, fmt.Errorf("seed: load: no parts, want Encode, Detokenize or both")
	}
	l := nn.NewLoader(dev, src)
	m, err := load(dev, l, src, c, parts)
	return m, err
}

// LoadTraining is Load with the parameters that trains picks by name to be trained, which it returns. A trained codebook is used
// from when Requantize is called.
func LoadTraining(dev *gpu.Device, src checkpoint.Source, c Config, parts Parts, trains func(name string) bool) (*Model, []nn.Parameter, error) {
	if err := c.Validate(); err != nil {
		return nil, nil, err
	}
	l := nn.NewLoader(dev, src)
	l.Train(trains)
	m, err := load(dev, l, src, c, parts)
	return m, l.Trained(), err
}

func load(dev *gpu.Device, l *nn.Loader, src checkpoint.Source, c Config, parts Parts) (*Model, error) {
	m := &Model{config: c, parts: parts, dev: dev, recorded: map[int][]*recorded{}}
	m.batch.Store(int64(dev.Batch()))
	if parts&Encode != 0 {
		m.loadEncoder(l)
		m.loadCodebook(l, src)
	}
	if parts&Detokenize != 0 {
		m.loadDetokenizer(l)
	}
	if parts&Texts != 0 {
		m.loadText(l)
	}
	if parts&Reconstruct != 0 {
		m.reconstruction = m.loadBranch(l, "")
	}
	if parts&Painting != 0 {
		m.loadPainter(l)
	}
	if err := l.Load(); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	m.made = l.Made()
	return m, nil
}

func (m *Model) loadEncoder(l *nn.Loader) {
	c := m.config
	m.pixelTable = l.Values(pixelTable(), 3, 256)
	m.classToken = l.Tensor(visual+"cls_token", 1, 1, c.ViTWidth)
	m.positions = m.loadPositions(l)
	m.patchEmbed = nn.Linear{
		Weight: l.Weight(visual+"patch_embed.proj.weight", c.ViTWidth, 3, c.PatchSize, c.PatchSize),
		Bias:   l.Tensor(visual+"patch_embed.proj.bias", c.ViTWidth),
	}
	for i := range c.ViTDepth {
		name := fmt.Sprintf("%sblocks.%d.", visual, i)
		b := loadBlock(l, l.NarrowLinear, name, c.ViTWidth, c.ViTMLP, c.ViTHeads)
		b.qkv = nn.Linear{Weight: l.Weight(name+"attn.qkv.weight", 3*c.ViTWidth, c.ViTWidth)}
		if l.Trains(name + "attn.q_bias") {
			b.qBias, b.vBias, b.zero = l.Tensor(name+"attn.q_bias", c.ViTWidth), l.Tensor(name+"attn.v_bias", c.ViTWidth), l.Empty(c.ViTWidth)
			m.blocks = append(m.blocks, b)
			continue
		}
		b.qkv.Bias = l.Empty(3 * c.ViTWidth)
		for third, which := range map[int]string{0: "attn.q_bias", 2: "attn.v_bias"} { // keys have none
			if l.Check(name+which, c.ViTWidth) {
				l.Into(b.qkv.Bias, third*c.ViTWidth, name+which)
			}
		}
		m.blocks = append(m.blocks, b)
	}
	m.lnVision = l.LayerNorm("ln_vision", c.ViTWidth, epsVision)
	m.queryTokens = l.Tensor("query_tokens", 1, c.Queries, c.QFormerWidth)
	m.queryNorm = l.LayerNorm("Qformer.bert.embeddings.LayerNorm", c.QFormerWidth, epsQFormer)
	for i := range c.QFormerDepth {
		m.layers = append(m.layers, loadQueryLayer(l, c, i))
	}
	m.task0 = l.Linear("encode_task_layer.0", c.QFormerWidth, c.QFormerWidth)
	m.task2 = l.Linear("encode_task_layer.2", c.CodeWidth, c.QFormerWidth)
}

// loadPositions says more than "wrong shape" when the table is for images of another size.
func (m *Model) loadPositions(l *nn.Loader) *gpu.Tensor {
	name, want := visual+"pos_embed", m.config.Patches()+1
	if info, ok := l.Find(name); ok && len(info.Shape) == 3 && info.Shape[1] != want && info.Shape[2] == m.config.ViTWidth {
		l.Fail(name, fmt.Errorf("a table of %d positions, want %d, for the class token and %d patches of an image of %d pixels a "+
			"side; tables of another grid are not resized", info.Shape[1], want, want-1, m.config.ImageSize))
		return nil
	}
	return l.Tensor(name, 1, want, m.config.ViTWidth)
}

// loadBlock loads a block without its qkv, the layers of its MLP by way of linear.
func loadBlock(l *nn.Loader, linear func(name string, out, in int) nn.Linear, name string, width, mlp, heads int) block {
	return block{
		norm1:          l.LayerNorm(name+"norm1", width, epsBlock),
		proj:           l.Linear(name+"attn.proj", width, width),
		norm2:          l.LayerNorm(name+"norm2", width, epsBlock),
		fc1:            linear(name+"mlp.fc1", mlp, width),
		fc2:            linear(name+"mlp.fc2", width, mlp),
		attentionHeads: heads,
	}
}

func loadQueryLayer(l *nn.Loader, c Config, i int) queryLayer {
	name, h := fmt.Sprintf("Qformer.bert.encoder.layer.%d.", i), c.QFormerWidth
	load := func(kind string, width int) attention {
		return attention{
			query: l.Linear(name+kind+".self.query", h, h),
			key:   l.Linear(name+kind+".self.key", h, width),
			value: l.Linear(name+kind+".self.value", h, width),
			dense: l.Linear(name+kind+".output.dense", h, h),
			norm:  l.LayerNorm(name+kind+".output.LayerNorm", h, epsQFormer),
			heads: c.QFormerHeads,
		}
	}
	layer := queryLayer{
		self:         load("attention", h),
		intermediate: l.Linear(name+"intermediate_query.dense", c.QFormerMLP, h),
		output:       l.Linear(name+"output_query.dense", h, c.QFormerMLP),
		norm:         l.LayerNorm(name+"output_query.LayerNorm", h, epsQFormer),
	}
	if i%c.CrossEvery == 0 {
		cross := load("crossattention", c.ViTWidth)
		layer.cross = &cross
	}
	return layer
}

// loadCodebook loads the codebook for Quantize, with the squared lengths of its rows.
func (m *Model) loadCodebook(l *nn.Loader, src checkpoint.Source) {
	const name = CodebookName
	c := m.config
	m.codebook = l.Table(name, c.Codes, c.CodeWidth)
	if m.codebook == nil {
		return
	}
	rows := make([]float32, c.Codes*c.CodeWidth)
	if err := src.Read(name, 0, rows); err != nil {
		l.Fail(name, err)
		return
	}
	m.norms = l.Values(squaredLengths(rows, c.CodeWidth), c.Codes)
}

func squaredLengths(rows []float32, width int) []float32 {
	norms := make([]float32, len(rows)/width)
	for i := range norms {
		for _, v := range rows[i*width : (i+1)*width] {
			norms[i] += v * v
		}
	}
	return norms
}

// Requantize makes Quantize use other rows [K D], those of a codebook in training.
func (m *Model) Requantize(rows []float32) error {
	if err := m.codebook.SetRows(0, rows); err != nil {
		return err
	}
	p := m.dev.NewPass(gpu.Inference)
	p.WriteF32(m.norms, 0, squaredLengths(rows, m.config.CodeWidth))
	return p.Close()
}

func (m *Model) loadDetokenizer(l *nn.Loader) {
	c := m.config
	m.table = l.Tensor(CodebookName, c.Codes, c.CodeWidth)
	m.decode0 = l.Linear("decode_task_layer.0", c.CodeWidth, c.CodeWidth)
	m.decode2 = l.Linear("decode_task_layer.2", c.QFormerWidth, c.CodeWidth)
	m.image = m.loadBranch(l, "_image")
	in := c.QFormerWidth
	for i, out := range downWidths {
		m.imageDown[i] = nn.Linear{Weight: l.Weight(fmt.Sprintf("image_down.%d.weight", 2*i), out, in)} // no bias
		in = out
	}
	m.imageProj = l.Linear("distill_image_proj", c.ImageEmbed, c.Queries*in)
}

// pixelTable is (v/255 - mean)/std for each channel and byte, rounded to float32 at each step, as the published
// preprocessing computes it.
func pixelTable() []float32 {
	table := make([]float32, 0, 3*256)
	for c := range 3 {
		for v := range 256 {
			unit := float32(v) / 255
			centered := unit - pixelMean[c]
			table = append(table, centered/pixelStd[c])
		}
	}
	return table
}
