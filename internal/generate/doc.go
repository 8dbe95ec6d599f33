// Package generate continues prompts by a language model, with an adapter of sower tune or without: text, whole images as codes,
// and captions of images. It also writes a model merged with its adapter.
//
// A prompt has the layout that the model was trained on, made by the very template of package interleave that laid out the
// corpus, cut off where the answer begins.
//
// What surprises: images are always whole. Behind <img> exactly the codes of an image can follow, and then </img>, whatever
// the scores say; elsewhere neither a code nor </img> can, and <img> only where the room that is left holds an image.
package generate
