package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sower/gpu"
	"sower/gpu/models/seed"
	"sower/internal/pixels"
	"sower/internal/weights"
)

type agreeOptions struct {
	model, a, b, resize string
	device              deviceFlags
	asJSON              bool
}

func newAgree() *cobra.Command {
	o := &agreeOptions{}
	cmd := &cobra.Command{
		Use:   "agree images…",
		Short: "Compare the codes of two precisions or devices, picture by picture",
		Long: `Encodes the same pictures twice, in the precisions and on the devices of --a and --b, and says how many codes are equal: for each
picture, for each of the positions (codes are causal: early ones carry most), and in all. Nothing is written.

A side is PRECISION or PRECISION@DEVICE; without a device it is that of --device.`,
		Example: `  sower agree --model weights/ --a float32 --b bfloat16 photos/*.jpg
  sower agree --model weights/ --a float32@cpu --b float16@cuda photos/*.jpg --json`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.execute(cmd, args) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.model, "model", "m", "standin:seed2:0", weights.Usage)
	f.StringVar(&o.a, "a", "float32", "one side: PRECISION[@DEVICE]")
	f.StringVar(&o.b, "b", "bfloat16", "the other side")
	f.StringVar(&o.resize, "resize", "bicubic", "how pictures are brought to the model's size: bicubic or bilinear")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	o.device.register(f)
	hide(f, "batch")
	return cmd
}

// agreement is what agree finds.
type agreement struct {
	A         string          `json:"a"`
	B         string          `json:"b"`
	Images    []imageAgreed   `json:"images"`
	Failed    []imageNotThere `json:"failed,omitempty"`
	Positions []int           `json:"equal_by_position"` // of len(Images)
	Equal     int             `json:"equal"`
	Codes     int             `json:"codes"`
}

type imageAgreed struct {
	Image string `json:"image"`
	Equal int    `json:"equal"`
	First int    `json:"first_difference"` // position, -1 if there is none
}

type imageNotThere struct {
	Image string `json:"image"`
	Error string `json:"error"`
}

func (o *agreeOptions) execute(cmd *cobra.Command, files []string) error {
	if len(files) == 0 {
		return usageError{errorf("agree: no pictures: give files, such as photos/*.jpg")}
	}
	filter := pixels.Filter(o.resize)
	if filter != pixels.Bicubic && filter != pixels.Bilinear {
		return usageError{errorf("agree: --resize %s: want bicubic or bilinear", o.resize)}
	}
	var sides [2]side
	for i, text := range []string{o.a, o.b} {
		s, err := o.parse(text)
		if err != nil {
			return usageError{errorf("agree: --%c %s: %w", 'a'+i, text, err)}
		}
		sides[i] = s
	}
	model, err := weights.Open(absoluteModel(o.model))
	if err != nil {
		return err
	}
	defer model.Close()
	if model.IsNull() {
		return usageError{errorf("agree: --model null has no codes to compare")}
	}
	c, result := model.Config, &agreement{Images: []imageAgreed{}, A: sides[0].String(), B: sides[1].String()}
	var rgb []byte
	for _, f := range files {
		one := make([]byte, c.ImageBytes())
		data, err := os.ReadFile(f)
		if err == nil {
			_, _, err = pixels.Prepare(one, data, c.ImageSize, filter, pixels.Limits{})
		}
		if err != nil {
			result.Failed = append(result.Failed, imageNotThere{f, err.Error()})
			continue
		}
		rgb = append(rgb, one...)
		result.Images = append(result.Images, imageAgreed{Image: f, First: -1})
	}
	if len(result.Images) > 0 {
		var codes [2][]uint16
		for i, s := range sides { // one after the other: two copies of the weights may not fit
			if codes[i], err = s.encode(model, o.device.threads, rgb); err != nil {
				return fmt.Errorf("agree: %s: %w", s, err)
			}
		}
		result.compare(codes[0], codes[1], c.Queries)
	}
	if o.asJSON {
		err = writeJSON(cmd.OutOrStdout(), result)
	} else {
		err = result.print(cmd.OutOrStdout())
	}
	if err == nil && len(result.Failed) > 0 {
		err = errorf("agree: %d of %d pictures could not be read", len(result.Failed), len(files))
	}
	return err
}

// side is one arithmetic on one device.
type side struct {
	precision gpu.Precision
	device    string
}

func (s side) String() string { return s.precision.String() + "@" + s.device }

func (o *agreeOptions) parse(text string) (side, error) {
	name, device, found := strings.Cut(text, "@")
	if !found {
		device = o.device.device
	}
	p, err := gpu.ParsePrecision(name)
	return side{p, device}, err
}

func (s side) encode(model *weights.Model, threads int, rgb []byte) (codes []uint16, err error) {
	dev, err := gpu.Open(s.device, gpu.Options{Threads: threads, Precision: s.precision})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	m, err := seed.Load(dev, model.Source, model.Config, seed.Encode)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	n := len(rgb) / model.Config.ImageBytes()
	codes, finite := make([]uint16, n*model.Config.Queries), make([]bool, n)
	if err := m.Encode(rgb, n, codes, finite); err != nil {
		return nil, err
	}
	for i, ok := range finite {
		if !ok {
			return nil, fmt.Errorf("picture %d leads to numbers that are not finite", i+1)
		}
	}
	return codes, nil
}

// compare counts equal codes of rows of q.
func (r *agreement) compare(a, b []uint16, q int) {
	r.Positions, r.Codes = make([]int, q), len(a)
	for i := range a {
		image, position := &r.Images[i/q], i%q
		switch {
		case a[i] == b[i]:
			image.Equal++
			r.Positions[position]++
			r.Equal++
		case image.First < 0:
			image.First = position
		}
	}
}

func (r *agreement) print(w io.Writer) error {
	fmt.Fprintf(w, "%s against %s\n", r.A, r.B)
	for _, f := range r.Failed {
		fmt.Fprintf(w, "%-40s %s\n", f.Image, f.Error)
	}
	for _, i := range r.Images {
		where := ""
		if i.First >= 0 {
			where = fmt.Sprintf(", the first difference at %d", i.First)
		}
		fmt.Fprintf(w, "%-40s %d of %d codes equal%s\n", i.Image, i.Equal, len(r.Positions), where)
	}
	if r.Codes == 0 {
		return nil
	}
	fmt.Fprintf(w, "by position, of %d:", len(r.Images))
	for _, n := range r.Positions {
		fmt.Fprintf(w, " %d", n)
	}
	_, err := fmt.Fprintf(w, "\nin all %d of %d codes equal, %.2f %%\n", r.Equal, r.Codes, 100*float64(r.Equal)/float64(r.Codes))
	return err
}
