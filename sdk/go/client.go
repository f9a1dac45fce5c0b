package s9s

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	mathrand "math/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config says where the server is and who calls.
type Config struct {
	BaseURL      string // may end with /v1, /api/v1, or before that
	Token        string // a bearer token
	APIKey       string // used where there is no token
	ClientID     string // an OAuth client, used where there is neither; without all the caller is the user of this process
	ClientSecret string
	Scope        string // what the OAuth client asks for; all that it may where this is empty
	Timeout      time.Duration
	Retries      *Retries
	HTTPClient   *http.Client // for certificates and proxies of your own
}

// Retries says how often to ask again, and how long to wait before.
type Retries struct {
	Count   int
	First   time.Duration
	Longest time.Duration
}

// A server that is started anew is away for some seconds.
var usualRetries = Retries{Count: 5, First: 500 * time.Millisecond, Longest: time.Minute}

// Client calls one server. All of its methods may be used at the same time.
type Client struct {
	Jobs         *Jobs
	Nodes        *Nodes
	Users        *Users
	Partitions   *Partitions
	Reservations *Reservations
	QOS          *QualitiesOfService
	Metrics      *Metrics
	Alerts       *Alerts
	Exports      *Exports
	Reports      *Reports

	address string
	config  Config
	retries Retries
	http    *http.Client
	context context.Context
	issued  *issuedToken
}

// NewClient returns a client.
func NewClient(config *Config) *Client {
	client := &Client{config: *config, retries: usualRetries, http: config.HTTPClient, context: context.Background(), issued: &issuedToken{}}
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
	client.Nodes = &Nodes{client}
	client.Users = &Users{client}
	client.Partitions = &Partitions{client}
	client.Reservations = &Reservations{client}
	client.QOS = &QualitiesOfService{client}
	client.Metrics = &Metrics{client}
	client.Alerts = &Alerts{client}
	client.Exports = &Exports{client}
	client.Reports = &Reports{client}
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

// send returns the answer, with the token of an OAuth client where it is one: a new one where the last has ended.
func (client *Client) send(
	ctx context.Context, cancel context.CancelFunc, method, path string, query url.Values, body interface{},
	header http.Header,
) (*http.Response, error) {
	if strings.HasSuffix(path, "/") || strings.Contains(path, "//") {
		// The path would be that of a list.
		return nil, &Error{Code: InvalidRequest, Message: "an id is empty"}
	}
	var data []byte
	given := http.Header{}
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
		given.Set("Content-Type", "application/json")
	}
	if method == http.MethodPost {
		// It makes asking twice harmless.
		given.Set("Idempotency-Key", makeKey())
	}
	for name, values := range header {
		given[name] = values
	}
	address := client.address + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	for isAgain := false; ; isAgain = true {
		isIssued, err := client.sign(ctx, cancel, given, isAgain)
		if err != nil {
			return nil, err
		}
		response, err := client.sendAgain(ctx, cancel, method, address, data, given)
		var refusal *Error
		if !isIssued || isAgain || !errors.As(err, &refusal) || refusal.Status != http.StatusUnauthorized {
			return response, err
		}
	}
}

// sign adds who calls.
func (client *Client) sign(
	ctx context.Context, cancel context.CancelFunc, header http.Header, isAgain bool,
) (isIssued bool, err error) {
	config := client.config
	switch {
	case config.Token != "":
		header.Set("Authorization", "Bearer "+config.Token)
	case config.APIKey != "":
		header.Set("X-API-Key", config.APIKey)
	case config.ClientID != "":
		token, err := client.exchange(ctx, cancel, isAgain)
		if err != nil {
			return false, err
		}
		header.Set("Authorization", "Bearer "+token)
		return true, nil
	}
	return false, nil
}

// issuedToken is the token of an OAuth client, which all clients made by WithContext share.
type issuedToken struct {
	mutex sync.Mutex
	token string
	ends  time.Time
}

// early is how long before its end a token is exchanged: the clocks of two machines differ.
const early = time.Minute

// exchange returns the token of an OAuth client (RFC 6749, client credentials).
func (client *Client) exchange(ctx context.Context, cancel context.CancelFunc, hasEnded bool) (string, error) {
	issued := client.issued
	issued.mutex.Lock()
	defer issued.mutex.Unlock()
	if !hasEnded && time.Until(issued.ends) > early {
		return issued.token, nil
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {client.config.ClientID},
		"client_secret": {client.config.ClientSecret},
	}
	if client.config.Scope != "" {
		form.Set("scope", client.config.Scope)
	}
	root := strings.TrimSuffix(strings.TrimSuffix(client.address, "/v1"), "/api")
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	response, err := client.sendAgain(ctx, cancel, http.MethodPost, root+"/oauth/token", []byte(form.Encode()), header)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var said struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if err := json.NewDecoder(response.Body).Decode(&said); err != nil {
		return "", err
	}
	issued.token, issued.ends = said.AccessToken, time.Now().Add(time.Duration(said.ExpiresIn)*time.Second)
	return issued.token, nil
}

// sendAgain asks again while the server is busy or out of reach. A timeout ends the request until its headers have come.
func (client *Client) sendAgain(
	ctx context.Context, cancel context.CancelFunc, method, address string, data []byte, header http.Header,
) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		request.Header = header.Clone()
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
		if err := pause(ctx, *wait); err != nil {
			return nil, err
		}
	}
}

// pause waits, at most until the context ends.
func pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (client *Client) pause(wait time.Duration) error { return pause(client.context, wait) }

// download copies the file below a path.
func (client *Client) download(path string, to io.Writer) (int64, error) {
	ctx, cancel := context.WithCancel(client.context)
	defer cancel()
	header := http.Header{"Accept": {"*/*"}}
	response, err := client.send(ctx, cancel, http.MethodGet, path+"/download", nil, nil, header)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return io.Copy(to, response.Body)
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
