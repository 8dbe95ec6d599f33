package lora

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// peftVersion is that of the files that are written.
const peftVersion = "0.18.1"

// adapterConfig mirrors adapter_config.json of PEFT 0.18, all 36 keys in its order. What is any is not used here, and null or a
// default in every file that this package reads.
type adapterConfig struct {
	AloraInvocationTokens any             `json:"alora_invocation_tokens"`
	AlphaPattern          map[string]any  `json:"alpha_pattern"`
	ArrowConfig           any             `json:"arrow_config"`
	AutoMapping           any             `json:"auto_mapping"`
	BaseModelNameOrPath   *string         `json:"base_model_name_or_path"`
	Bias                  string          `json:"bias"`
	CordaConfig           any             `json:"corda_config"`
	EnsureWeightTying     bool            `json:"ensure_weight_tying"`
	EvaConfig             any             `json:"eva_config"`
	ExcludeModules        any             `json:"exclude_modules"`
	FanInFanOut           bool            `json:"fan_in_fan_out"`
	InferenceMode         bool            `json:"inference_mode"`
	InitLoraWeights       any             `json:"init_lora_weights"`
	LayerReplication      any             `json:"layer_replication"`
	LayersPattern         any             `json:"layers_pattern"`
	LayersToTransform     any             `json:"layers_to_transform"`
	LoftqConfig           map[string]any  `json:"loftq_config"`
	LoraAlpha             float64         `json:"lora_alpha"`
	LoraBias              bool            `json:"lora_bias"`
	LoraDropout           float64         `json:"lora_dropout"`
	MegatronConfig        any             `json:"megatron_config"`
	MegatronCore          any             `json:"megatron_core"`
	ModulesToSave         []string        `json:"modules_to_save"`
	PeftType              string          `json:"peft_type"`
	PeftVersion           string          `json:"peft_version"`
	QaloraGroupSize       any             `json:"qalora_group_size"`
	R                     int             `json:"r"`
	RankPattern           map[string]any  `json:"rank_pattern"`
	Revision              any             `json:"revision"`
	TargetModules         json.RawMessage `json:"target_modules"`
	TargetParameters      any             `json:"target_parameters"`
	TaskType              *string         `json:"task_type"`
	TrainableTokenIndices json.RawMessage `json:"trainable_token_indices"`
	UseDora               bool            `json:"use_dora"`
	UseQalora             bool            `json:"use_qalora"`
	UseRslora             bool            `json:"use_rslora"`
}

// encode writes adapter_config.json.
func (c Config) encode() ([]byte, error) {
	base, task := c.Base, "CAUSAL_LM"
	targets, err := json.Marshal(slices.Sorted(slices.Values(c.Targets)))
	if err != nil {
		return nil, err
	}
	a := adapterConfig{AlphaPattern: map[string]any{}, BaseModelNameOrPath: &base, Bias: "none", InferenceMode: true, InitLoraWeights: true,
		LoftqConfig: map[string]any{}, LoraAlpha: c.Alpha, LoraDropout: c.Dropout, MegatronCore: "megatron.core", PeftType: "LORA",
		PeftVersion: peftVersion, QaloraGroupSize: 16, R: c.R, RankPattern: map[string]any{}, TargetModules: targets, TaskType: &task, UseRslora: c.RSLoRA}
	if len(c.Saved) > 0 {
		a.ModulesToSave = slices.Clone(c.Saved)
	}
	tokens := map[string][]int32{}
	for name, ids := range c.Tokens {
		tokens[name] = slices.Sorted(slices.Values(ids))
	}
	switch ids, embedding := tokens["embed_tokens"]; {
	case len(tokens) == 0:
	case len(tokens) == 1 && embedding: // a list means the embedding
		a.TrainableTokenIndices, err = json.Marshal(ids)
	default:
		a.TrainableTokenIndices, err = json.Marshal(tokens)
	}
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(a, "", "  ")
	return append(text, '\n'), err
}

// ParseConfig reads adapter_config.json. Variants of LoRA that are not computed here are refused by name.
func ParseConfig(text []byte) (Config, error) {
	a := adapterConfig{R: 8, LoraAlpha: 8, Bias: "none"} // PEFT's defaults
	if err := json.Unmarshal(text, &a); err != nil {
		return Config{}, fmt.Errorf("lora: adapter_config.json: %w", err)
	}
	c := Config{R: a.R, Alpha: a.LoraAlpha, RSLoRA: a.UseRslora, Dropout: a.LoraDropout, Saved: a.ModulesToSave}
	if a.BaseModelNameOrPath != nil {
		c.Base = *a.BaseModelNameOrPath
	}
	errs := []error{a.refused(), json.Unmarshal(a.TargetModules, &c.Targets)}
	if errs[1] != nil {
		errs[1] = fmt.Errorf("lora: adapter_config.json: target_modules %s, want a list of names", a.TargetModules)
	}
	var list []int32
	switch t := bytes.TrimSpace(a.TrainableTokenIndices); {
	case len(t) == 0 || string(t) == "null":
	case json.Unmarshal(t, &list) == nil:
		c.Tokens = map[string][]int32{"embed_tokens": list}
	case json.Unmarshal(t, &c.Tokens) != nil:
		errs = append(errs, errors.New("lora: adapter_config.json: trainable_token_indices are no list, and no lists by name"))
	}
	if err := errors.Join(errs...); err != nil {
		return Config{}, err
	}
	return c, c.Validate()
}

// refused names the settings that would change what is computed.
func (a *adapterConfig) refused() error {
	var errs []error
	for name, used := range map[string]bool{
		"use_dora": a.UseDora, "use_qalora": a.UseQalora, "fan_in_fan_out": a.FanInFanOut, "lora_bias": a.LoraBias,
		"alpha_pattern": len(a.AlphaPattern) > 0, "rank_pattern": len(a.RankPattern) > 0,
		"alora_invocation_tokens": a.AloraInvocationTokens != nil, "arrow_config": a.ArrowConfig != nil,
		"exclude_modules": !empty(a.ExcludeModules), "layer_replication": !empty(a.LayerReplication),
		"layers_to_transform": !empty(a.LayersToTransform), "target_parameters": !empty(a.TargetParameters),
	} {
		if used {
			errs = append(errs, fmt.Errorf("lora: adapter_config.json: %s is set, which is not computed here; merge the adapter with PEFT first", name))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return bytes.Compare([]byte(a.Error()), []byte(b.Error())) })
	if a.PeftType != "LORA" {
		errs = append(errs, fmt.Errorf("lora: adapter_config.json: peft_type %q, want LORA", a.PeftType))
	}
	if a.Bias != "none" {
		errs = append(errs, fmt.Errorf("lora: adapter_config.json: bias %q, want none; name modules in modules_to_save instead", a.Bias))
	}
	return errors.Join(errs...)
}

func empty(v any) bool {
	list, ok := v.([]any)
	return v == nil || ok && len(list) == 0
}

// rows is the size of a vocabulary that has all tokens.
func rows(tokens map[string][]int32) int {
	n := 0
	for _, ids := range maps.All(tokens) {
		for _, id := range ids {
			n = max(n, int(id)+1)
		}
	}
	return n
}
