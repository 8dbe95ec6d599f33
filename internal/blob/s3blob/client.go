package s3blob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"sower/internal/blob/wire"
)

// clients holds the process's one client, by the endpoint that the environment names (none: the service itself).
var clients struct {
	sync.Mutex
	by map[string]*s3.Client
}

// client is shared by all buckets. Credentials, region and endpoint are found as every program with this SDK finds them:
// AWS_ACCESS_KEY_ID and its like, AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL_S3, files in ~/.aws, the machine's role.
func client() (*s3.Client, error) {
	endpoint := cmp.Or(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"))
	clients.Lock()
	defer clients.Unlock()
	if c := clients.by[endpoint]; c != nil {
		return c, nil
	}
	cfg, err := config.LoadDefaultConfig(context.Background(), config.WithRetryer(retryer),
		config.WithLogger(logging.Nop{})) // what matters reaches the user as an error or in the summary
	if err != nil {
		return nil, fmt.Errorf("settings of s3:// (docs/storage.md): %w", err)
	}
	cfg.Region = cmp.Or(cfg.Region, "us-east-1") // where buckets are unless something else is said
	base := wire.Base()
	if b, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		base = wire.Tune(b.GetTransport()) // with the certificates of AWS_CA_BUNDLE
	}
	c := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.HTTPClient = &http.Client{Transport: wire.Transport(base)}
		o.UsePathStyle = endpoint != "" // stores other than the service rarely have a host name a bucket
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.DisableLogOutputChecksumValidationSkipped = true
	})
	if clients.by == nil {
		clients.by = map[string]*s3.Client{}
	}
	clients.by[endpoint] = c
	return c, nil
}

// retryer sends a request again up to wire.Attempts times. The SDK's budget for retries of the whole process is off: a
// worker that waits costs less than a run that fails.
func retryer() aws.Retryer {
	standard := retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = wire.Attempts
		o.RateLimiter = ratelimit.None
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) { return wire.Wait(attempt + 1), nil })
	})
	return givesUp{standard}
}

// givesUp believes package wire when it has given up, and knows the failures that pass: the SDK's list lacks some, among
// them two conditional writes at once, and answers that break off.
type givesUp struct{ aws.RetryerV2 }

func (r givesUp) IsErrorRetryable(err error) bool {
	if errors.Is(err, wire.ErrGaveUp) {
		return false
	}
	s := status(err)
	return s == http.StatusTooManyRequests || s == http.StatusRequestTimeout || code(err) == "ConditionalRequestConflict" ||
		errors.Is(err, io.ErrUnexpectedEOF) || r.RetryerV2.IsErrorRetryable(err)
}
