// Package rest is the part of Flink's REST service that Sower needs: which jobs there are, and how to cancel one. Beam's own Cancel
// says that a job is cancelled while its workers go on.
package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Job is a job that Flink knows.
type Job struct {
	ID    string `json:"jid"`
	Name  string `json:"name"`
	State string `json:"state"` // CREATED, RUNNING, RESTARTING, FAILED, …
	Start int64  `json:"start-time"`

	service string // URL of the service that knows it
}

// Ended reports whether nothing more will happen to the job.
func (j *Job) Ended() bool {
	switch j.State {
	case "FAILED", "CANCELED", "FINISHED", "SUSPENDED":
		return true
	}
	return false
}

// Client asks one service, or those on a range of ports of one host.
type Client struct {
	urls   []string
	client *http.Client
}

// callLimit bounds one request.
const callLimit = 10 * time.Second

// maxPorts bounds a range of ports.
const maxPorts = 1000

// New takes a URL whose port may be a range, "http://127.0.0.1:28081-28096": a Flink inside Beam's job server starts a service for
// every job.
func New(address string) (*Client, error) {
	first, last, u, err := parse(address)
	if err != nil {
		return nil, fmt.Errorf("flink: --flink-rest %q: %w; want a URL such as http://127.0.0.1:8081", address, err)
	}
	c := &Client{client: &http.Client{Timeout: callLimit}}
	for p := first; p <= last; p++ {
		v := *u
		if p > 0 {
			v.Host = u.Hostname() + ":" + strconv.Itoa(p)
			if strings.Contains(u.Hostname(), ":") {
				v.Host = "[" + u.Hostname() + "]:" + strconv.Itoa(p)
			}
		}
		c.urls = append(c.urls, strings.TrimSuffix(v.String(), "/"))
	}
	return c, nil
}

// parse splits a range of ports off; ports are 0 where none is given.
func parse(address string) (first, last int, u *url.URL, err error) {
	rest := strings.TrimSuffix(address, "/")
	if i := strings.LastIndexByte(rest, '-'); i > strings.LastIndexByte(rest, ':') && strings.LastIndexByte(rest, ':') > strings.LastIndexByte(rest, '/') {
		if last, err = strconv.Atoi(rest[i+1:]); err != nil {
			return 0, 0, nil, fmt.Errorf("last port %q", rest[i+1:])
		}
		rest = rest[:i]
	}
	if u, err = url.Parse(rest); err != nil {
		return 0, 0, nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return 0, 0, nil, errors.New("no http URL of a host alone")
	}
	if p := u.Port(); p != "" {
		if first, err = strconv.Atoi(p); err != nil || first < 1 || first > 65535 {
			return 0, 0, nil, fmt.Errorf("port %q", p)
		}
	}
	if last == 0 {
		last = first
	}
	if last < first || last > 65535 || last-first >= maxPorts {
		return 0, 0, nil, fmt.Errorf("ports %d to %d", first, last)
	}
	return first, last, u, nil
}

// URL is what New was told, for people; of a range, its first.
func (c *Client) URL() string { return c.urls[0] }

// ErrUnreachable means that no service answers.
var ErrUnreachable = errors.New("the REST service of Flink does not answer (a Flink inside the job server has one only while a job runs)")

// Embedded reports whether these are the services of a job server's own jobs: each ends with its job.
func (c *Client) Embedded() bool { return len(c.urls) > 1 }

// Jobs lists the jobs of all services that answer. That none does is ErrUnreachable: where Flink is inside the job server, this is
// so while no job runs.
func (c *Client) Jobs(ctx context.Context) ([]Job, error) {
	var all []Job
	var why error
	answered := false
	for _, u := range c.urls {
		var reply struct {
			Jobs []Job `json:"jobs"`
		}
		if err := c.do(ctx, http.MethodGet, u+"/jobs/overview", &reply); err != nil {
			var status *statusError
			if errors.As(err, &status) || ctx.Err() != nil {
				return nil, err
			}
			if why == nil {
				why = err
			}
			continue
		}
		answered = true
		for _, j := range reply.Jobs {
			j.service = u
			all = append(all, j)
		}
	}
	if !answered {
		return nil, fmt.Errorf("flink: %w: %v", ErrUnreachable, why)
	}
	return all, nil
}

// Slots is how many task slots a cluster has.
func (c *Client) Slots(ctx context.Context) (int, error) {
	var reply struct {
		Total int `json:"slots-total"`
	}
	err := c.do(ctx, http.MethodGet, c.urls[0]+"/overview", &reply)
	return reply.Total, err
}

// beamName is what Beam makes of a job's name before it adds its ending: lower case, and a 0 for all that is no letter or digit.
func beamName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '0'
	}, strings.ToLower(name))
}

// ErrNoJob means that no job has the name or id.
var ErrNoJob = errors.New("no job")

// Find returns the job with that id or name, as it was submitted or as Flink shows it, with or without the ending that Beam adds
// ("-user-time-random"). Of several with one name those that have not ended count.
func Find(jobs []Job, name string) (*Job, error) {
	var found []Job
	for _, j := range jobs {
		if j.ID == name {
			return &j, nil
		}
		if j.Name == name || strings.HasPrefix(j.Name, name+"-") || strings.HasPrefix(j.Name, beamName(name)+"-") {
			found = append(found, j)
		}
	}
	var live []Job
	for _, j := range found {
		if !j.Ended() {
			live = append(live, j)
		}
	}
	switch {
	case len(live) == 1:
		return &live[0], nil
	case len(live) == 0 && len(found) > 0:
		return &found[len(found)-1], nil
	case len(live) == 0:
		var have []string
		for _, j := range jobs {
			have = append(have, j.Name+" ("+j.State+")")
		}
		if len(have) == 0 {
			have = []string{"none at all"}
		}
		return nil, fmt.Errorf("flink: %w %q (there are: %s)", ErrNoJob, name, strings.Join(have, ", "))
	}
	var ids []string
	for _, j := range live {
		ids = append(ids, j.ID)
	}
	return nil, fmt.Errorf("flink: %d jobs are named %q: give one of the ids %s", len(live), name, strings.Join(ids, ", "))
}

// Family are the jobs that have not ended and whose names, as they were submitted, begin so.
func Family(jobs []Job, prefix string) (live []Job) {
	for _, j := range jobs {
		if !j.Ended() && (strings.HasPrefix(j.Name, prefix) || strings.HasPrefix(j.Name, beamName(prefix))) {
			live = append(live, j)
		}
	}
	return live
}

// pollEvery is how often a job that is being cancelled is looked at.
const pollEvery = 200 * time.Millisecond

// Cancel cancels a job and waits until Flink says that it has ended, within ctx. It returns the last state: CANCELED, or another if the
// job was faster. A Flink inside the job server ends with its job, and is then not there to be asked: that counts as CANCELED.
func (c *Client) Cancel(ctx context.Context, j *Job) (string, error) {
	if j.Ended() {
		return j.State, nil
	}
	if err := c.do(ctx, http.MethodPatch, j.service+"/jobs/"+j.ID+"?mode=cancel", nil); err != nil {
		return j.State, err
	}
	for {
		var now Job
		err := c.do(ctx, http.MethodGet, j.service+"/jobs/"+j.ID, &now)
		var status *statusError
		switch {
		case ctx.Err() != nil:
			return now.State, fmt.Errorf("flink: job %s is told to cancel and still %s: %w", j.ID, now.State, context.Cause(ctx))
		case errors.As(err, &status) && status.code == http.StatusNotFound, err != nil && status == nil:
			return "CANCELED", nil
		case err != nil:
			return j.State, err
		case now.Ended():
			return now.State, nil
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
		}
	}
}

// statusError is an answer other than the one that was wanted.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

func (c *Client) do(ctx context.Context, method, u string, reply any) error {
	req, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return fmt.Errorf("flink: %w", err)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("flink: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("flink: %s: %w", u, err)
	}
	if resp.StatusCode/100 != 2 {
		return &statusError{resp.StatusCode, fmt.Sprintf("flink: %s %s: %s: %.300s", method, u, resp.Status, body)}
	}
	if reply == nil {
		return nil
	}
	if err := json.Unmarshal(body, reply); err != nil {
		return fmt.Errorf("flink: %s: is this Flink's REST service? %w", u, err)
	}
	return nil
}
