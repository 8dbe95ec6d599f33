package checkpoint

// standInWant holds elements 1 to 3 of each tensor at seed 5.
var standInWant = map[string][]float32{
	"query_tokens":              {0.2591254711151123, -0.3472253084182739, -0.8387671709060669},
	"a.bias":                    {-0.018943196162581444, -0.0026380729395896196, 0.018120814114809036},
	"ln.weight":                 {0.9761361479759216, 0.9234068989753723, 0.9485876560211182},
	"quantize.embedding.weight": {1.2608590126037598, 0.2967338562011719, -0.09968733787536621},
	"x.self.query.weight":       {-0.17721712589263916, 1.0284987688064575, 0.06660318374633789},
}
