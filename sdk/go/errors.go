package s9s

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// The codes of refusals, as Error has them.
const (
	InvalidRequest       = "INVALID_REQUEST"
	AuthenticationFailed = "AUTHENTICATION_FAILED"
	PermissionDenied     = "PERMISSION_DENIED"
	ResourceNotFound     = "RESOURCE_NOT_FOUND"
	ResourceConflict     = "RESOURCE_CONFLICT"
	RateLimitExceeded    = "RATE_LIMIT_EXCEEDED"
	ValidationError      = "VALIDATION_ERROR"
	SlurmError           = "SLURM_ERROR"
)

// Error is a refusal of the server.
type Error struct {
	Status     int
	Code       string
	Message    string
	Details    map[string]interface{}
	RequestID  string
	RetryAfter time.Duration
}

func (refusal *Error) Error() string {
	return fmt.Sprintf("s9s: %s (%d %s, request %s)", refusal.Message, refusal.Status, refusal.Code, refusal.RequestID)
}

// IsCode tells whether the error is a refusal with this code, such as ResourceNotFound.
func IsCode(err error, code string) bool {
	var refusal *Error
	return errors.As(err, &refusal) && refusal.Code == code
}

// ConnectionError says that the server could not be reached, or that the connection was lost.
type ConnectionError struct{ Err error }

func (lost *ConnectionError) Error() string { return "s9s: no answer: " + lost.Err.Error() }

// Unwrap returns what the connection failed for.
func (lost *ConnectionError) Unwrap() error { return lost.Err }

// WaitTimeout says that what was waited for did not happen in time.
type WaitTimeout struct{ Job *JobDetail }

func (late *WaitTimeout) Error() string {
	return fmt.Sprintf("s9s: job %s is still %s", late.Job.JobID, late.Job.State)
}

func explainRefusal(response *http.Response) error {
	refusal := &Error{Status: response.StatusCode, RequestID: response.Header.Get("X-Request-ID")}
	refusal.RetryAfter, _ = readRetryAfter(response)
	data, _ := io.ReadAll(io.LimitReader(response.Body, 1_000_000))
	var refused struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(data, &refused) == nil && refused.Error != "" {
		// The shape of RFC 6749, of /oauth/token.
		refusal.Code, refusal.Message = AuthenticationFailed, refused.Description
		refusal.Details = map[string]interface{}{"error": refused.Error}
		return refusal
	}
	var said struct {
		Error *struct {
			Code      string                 `json:"code"`
			Message   string                 `json:"message"`
			Details   map[string]interface{} `json:"details"`
			RequestID string                 `json:"request_id"`
		} `json:"error"`
	}
	if json.Unmarshal(data, &said) == nil && said.Error != nil {
		refusal.Code, refusal.Message = said.Error.Code, said.Error.Message
		refusal.Details, refusal.RequestID = said.Error.Details, said.Error.RequestID
		return refusal
	}
	// Something in between answers in its own way, such as a proxy.
	refusal.Message = response.Status
	return refusal
}
