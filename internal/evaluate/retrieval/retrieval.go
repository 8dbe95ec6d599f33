// Package retrieval measures how well vectors of images find those of their captions, and the other way round.
package retrieval

// Recall is the share of rows whose own is among the first 1, 5 and 10 found, in percent.
type Recall struct {
	At1  float64 `json:"at_1"`
	At5  float64 `json:"at_5"`
	At10 float64 `json:"at_10"`
}

// Both is retrieval in both directions; Mean is the mean of the six recalls.
type Both struct {
	ImageToText Recall  `json:"image_to_text"`
	TextToImage Recall  `json:"text_to_image"`
	Mean        float64 `json:"mean"`
}

// Of is retrieval of both by each other; pairs stand at the same places.
func Of(images, texts [][]float32) Both {
	b := Both{ImageToText: RecallOf(images, texts), TextToImage: RecallOf(texts, images)}
	for _, r := range []Recall{b.ImageToText, b.TextToImage} {
		b.Mean += (r.At1 + r.At5 + r.At10) / 6
	}
	return b
}

// RecallOf finds b for each a; pairs stand at the same places. What is as near as the own one does not count against it.
func RecallOf(a, b [][]float32) Recall {
	var at1, at5, at10 int
	for i := range a {
		own, better := Dot(a[i], b[i]), 0
		for j := range b {
			if Dot(a[i], b[j]) > own {
				better++
			}
		}
		if better < 1 {
			at1++
		}
		if better < 5 {
			at5++
		}
		if better < 10 {
			at10++
		}
	}
	percent := func(n int) float64 { return 100 * float64(n) / float64(len(a)) }
	return Recall{percent(at1), percent(at5), percent(at10)}
}

// Dot is the inner product, which is the cosine of vectors of unit length.
func Dot(a, b []float32) float32 {
	var s float32
	for i, v := range a {
		s += float32(v * b[i])
	}
	return s
}
