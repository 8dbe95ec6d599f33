// Package text turns text into token ids and back, with vocabularies in the formats that language models are published in:
// Hugging Face's tokenizer.json, GPT-2's vocab.json and merges.txt, SentencePiece's tokenizer.model, BERT's vocab.txt and
// the vocabulary inside a GGUF file. It also adds image tokens to a vocabulary and writes the result as a folder that
// AutoTokenizer reads with the same ids.
//
// Every tokenizer is the same chain, as in the tokenizers library: split at added tokens, normalize, cut into words, encode
// each word by the model. A format is a reader that fills in the chain, and each part of it can say what it is in the terms
// of tokenizer.json, which is how a folder is written. Whatever a file asks for and this package does not have is an error
// that names it.
//
// What surprises: the same folder gives different ids under different rules. "hf" is what current libraries do; "seed" is
// what the published system did, which drops white space around image tokens. See Options.
//
// Sources: the documentation of tokenizers (huggingface.co/docs/tokenizers), sentencepiece_model.proto and the normalizer
// notes of google/sentencepiece, the GGUF specification of ggml-org/ggml, and measurements of those libraries.
package text
