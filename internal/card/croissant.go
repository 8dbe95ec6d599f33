package card

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sower/schemas"
)

// Croissant describes a sequence corpus in Croissant 1.1 (MLCommons; JSON-LD on schema.org), with its files and their digests,
// the columns of its record set, and what it was derived from (PROV-O).
func Croissant(m *schemas.Manifest) ([]byte, error) {
	type object = map[string]any
	context := object{
		"@language": "en", "@vocab": "https://schema.org/",
		"arrayShape": "cr:arrayShape", "citeAs": "cr:citeAs", "column": "cr:column", "conformsTo": "dct:conformsTo", "containedIn": "cr:containedIn",
		"cr": "http://mlcommons.org/croissant/", "data": object{"@id": "cr:data", "@type": "@json"},
		"dataType": object{"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/", "extract": "cr:extract", "field": "cr:field",
		"fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty", "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes",
		"isArray": "cr:isArray", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5",
		"parentField": "cr:parentField", "path": "cr:path", "prov": "http://www.w3.org/ns/prov#", "rai": "http://mlcommons.org/croissant/RAI/",
		"recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
		"samplingRate": "cr:samplingRate", "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source",
		"subField": "cr:subField", "transform": "cr:transform", "examples": object{"@id": "cr:examples", "@type": "@json"}, "equivalentProperty": "cr:equivalentProperty",
	}
	var distribution, recordSets []any
	for _, f := range m.Files { // those of a split without rows as well
		if strings.HasPrefix(f.Path, "data/") {
			distribution = append(distribution, object{"@type": "cr:FileObject", "@id": f.Path, "name": f.Path, "contentUrl": f.Path,
				"contentSize": fmt.Sprintf("%d B", f.Bytes), "encodingFormat": "application/x-parquet", "sha256": f.SHA256})
		}
	}
	for _, s := range splits(m, map[string]string{"train": "data/train-*", "validation": "data/validation-*"}) {
		if s.rows == 0 {
			continue
		}
		// No containedIn: readers take that for an archive to look into and find no row. A set without it is files beside this one.
		set := s.name + "-files"
		distribution = append(distribution, object{"@type": "cr:FileSet", "@id": set, "name": set,
			"encodingFormat": "application/x-parquet", "includes": s.glob + ".parquet"})
		var fields []any
		for _, c := range columns(m) {
			f := object{"@type": "cr:Field", "@id": s.name + "/" + c.name, "name": c.name, "description": c.meaning, "dataType": c.kind,
				"source": object{"fileSet": object{"@id": set}, "extract": object{"column": c.name}}}
			if c.list {
				f["isArray"], f["arrayShape"] = true, "-1"
			}
			fields = append(fields, f)
		}
		recordSets = append(recordSets, object{"@type": "cr:RecordSet", "@id": s.name, "name": s.name,
			"description": fmt.Sprintf("%d rows", s.rows), "field": fields})
	}
	options := make([]any, 0, len(m.Identity.Options))
	for _, k := range sorted(m.Identity.Options) {
		options = append(options, object{"@type": "sc:PropertyValue", "name": k, "value": m.Identity.Options[k]})
	}
	derived := object{"@type": "prov:Entity", "prov:label": "rows of plan " + m.Identity.Plan}
	if m.Identity.Weights != "" { // texts alone have none
		derived["sc:identifier"] = "sha256 of the image tokenizer's weights: " + m.Identity.Weights
	}
	doc := object{
		"@context": context, "@type": "sc:Dataset", "name": "sequences",
		"description": fmt.Sprintf("Token sequences of texts and images for a language model. An image is %d ids: <img>, its codes (code i has id %d + i), </img>.",
			m.Vocabulary.ImageLength, m.Vocabulary.Offset),
		"conformsTo": "http://mlcommons.org/croissant/1.1", "version": "1.0.0", "citeAs": "arXiv:2307.08041",
		"creator":      object{"@type": "sc:Organization", "name": "Sower"},
		"distribution": distribution, "recordSet": recordSets,
		"prov:wasDerivedFrom": derived,
		"prov:wasGeneratedBy": object{"@type": "prov:Activity", "prov:label": "sower interleave", "sc:additionalProperty": options},
	}
	p, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("card: croissant: %w", err)
	}
	return append(p, '\n'), nil
}

type column struct {
	name, kind, meaning string
	list                bool
}

// columns are those of the sequence table.
func columns(m *schemas.Manifest) []column {
	out := []column{
		{"input_ids", "sc:Integer", "ids of text and images", true},
		{"labels", "sc:Integer", "ids to predict, -100 where there is no loss", true},
		{"images", "sc:Integer", "offsets of every <img> in input_ids", true},
		{"keys", "sc:Text", "keys of the images, or of the document or text", true},
		{"length", "sc:Integer", "number of ids", false},
	}
	if m.Identity.Options["pack"] == "true" {
		out = append(out, column{"position_ids", "sc:Integer", "positions that restart at 0 with every sequence", true},
			column{"sequence_lengths", "sc:Integer", "lengths of the sequences of the row", true})
	}
	return out
}

func sorted(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
