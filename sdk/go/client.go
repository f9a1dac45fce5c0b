package s9s

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	mathrand "math/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config says where the server is and who calls.
type Config struct {
	BaseURL    string // may end with /v1, /api/v1, or before that
	Token      string // a bearer token
	APIKey     string // used where there is no token; without both the caller is the user of this process, over loopback
	Timeout    time.Duration
	Retries    *Retries
	HTTPClient *http.Client // for certificates and proxies of your own
}

// Retries says how often to ask again, and how long to wait before.
type Retries struct {
	Count   int
	First   time.Duration
	Longest time.Duration
}

var usualRetries = Retries{Count: 3, First: 500 * time.Millisecond, Longest: time.Minute}

// Client calls one server. All of its methods may be used at the same time.
type Client struct {
	Jobs    *Jobs
	Exports *Exports

	address string
	config  Config
	retries Retries
	http    *http.Client
	context context.Context
}

// NewClient returns a client.
func NewClient(config *Config) *Client {
	client := &Client{config: *config, retries: usualRetries, http: config.HTTPClient, context: context.Background()}
	if config.Retries != nil {
		client.retries = *config.Retries
	}
	if client.http == nil {
		client.http = &http.Client{}
	}
	if client.config.Timeout == 0 {
		client.config.Timeout = 30 * time.Second
	}
	base := config.BaseURL
	if base == "" {
		base = "http://127.0.0.1:8000"
	}
	client.address = strings.TrimRight(base, "/")
	if !strings.HasSuffix(client.address, "/v1") {
		client.address += "/v1"
	}
	client.bind()
	return client
}

// WithContext returns a client whose calls end with the context.
func (client *Client) WithContext(ctx context.Context) *Client {
	bound := *client
	bound.context = ctx
	bound.bind()
	return &bound
}

func (client *Client) bind() {
	client.Jobs = &Jobs{client}
	client.Exports = &Exports{client}
}

// Call asks for a path of the API; it is for what has no method of its own. The answer is decoded into answer.
func (client *Client) Call(method, path string, query url.Values, body, answer interface{}) error {
	return client.call(method, path, query, body, nil, answer)
}

func (client *Client) call(
	method, path string, query url.Values, body interface{}, header http.Header, answer interface{},
) error {
	ctx, cancel := context.WithCancel(client.context)
	defer cancel()
	response, err := client.send(ctx, cancel, method, path, query, body, header)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return &ConnectionError{Err: err}
	}
	if answer == nil || len(data) == 0 {
		return nil
	}
	return json.Unmarshal(data, answer)
}

// send asks again while the server is busy or out of reach. A timeout ends the request until its headers have come.
func (client *Client) send(
	ctx context.Context, cancel context.CancelFunc, method, path string, query url.Values, body interface{},
	header http.Header,
) (*http.Response, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	address := client.address + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	key := makeKey()
	for attempt := 1; ; attempt++ {
		request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		client.fill(request, body != nil, key, header)
		timer := time.AfterFunc(client.config.Timeout, cancel)
		response, err := client.http.Do(request)
		inTime := timer.Stop()
		if err == nil && response.StatusCode < 400 {
			return response, nil
		}
		var wait *time.Duration
		if err != nil {
			err = &ConnectionError{Err: err}
			if inTime && ctx.Err() == nil {
				wait = client.retries.findPause(attempt, nil)
			}
		} else {
			wait = client.retries.findPause(attempt, response)
			err = explainRefusal(response)
			response.Body.Close()
		}
		if wait == nil {
			return nil, err
		}
		select {
		case <-time.After(*wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (client *Client) fill(request *http.Request, hasBody bool, key string, header http.Header) {
	if client.config.Token != "" {
		request.Header.Set("Authorization", "Bearer "+client.config.Token)
	} else if client.config.APIKey != "" {
		request.Header.Set("X-API-Key", client.config.APIKey)
	}
	if hasBody {
		request.Header.Set("Content-Type", "application/json")
	}
	if request.Method == http.MethodPost {
		// It makes asking twice harmless.
		request.Header.Set("Idempotency-Key", key)
	}
	for name, values := range header {
		request.Header[name] = values
	}
}

// findPause returns the pause before the next attempt, or nil where there is none. No response stands for a lost
// connection. A server that wants a longer pause than Longest gets no further attempt.
func (retries Retries) findPause(attempt int, response *http.Response) *time.Duration {
	if attempt > retries.Count {
		return nil
	}
	if response != nil {
		if response.StatusCode != http.StatusTooManyRequests && response.StatusCode != http.StatusServiceUnavailable {
			return nil
		}
		if wanted, ok := readRetryAfter(response); ok {
			if wanted > retries.Longest {
				return nil
			}
			return &wanted
		}
	}
	pause := retries.First << (attempt - 1)
	if pause > retries.Longest {
		pause = retries.Longest
	}
	pause = pause/2 + time.Duration(mathrand.Int63n(int64(pause/2)+1))
	return &pause
}

func readRetryAfter(response *http.Response) (time.Duration, bool) {
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	return time.Duration(seconds) * time.Second, err == nil && seconds >= 0
}

func makeKey() string {
	var data [16]byte
	if _, err := rand.Read(data[:]); err != nil {
		panic(err) // the system has no randomness to give
	}
	return hex.EncodeToString(data[:])
}
