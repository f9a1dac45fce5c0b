package s9s

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// Update is what has happened. Of a snapshot Data holds all that there is.
type Update struct {
	Channel    string          `json:"channel"`
	Action     string          `json:"action"` // update, created, deleted, snapshot
	ResourceID string          `json:"resource_id"`
	Timestamp  time.Time       `json:"timestamp"`
	Data       json.RawMessage `json:"data"`
}

// UpdateOptions says which updates to tell; with Snapshot they begin with what there is.
type UpdateOptions struct {
	Filter   map[string]interface{} `json:"filter,omitempty"`
	Snapshot bool                   `json:"snapshot,omitempty"`
}

// Updates returns what happens in a channel (jobs, nodes, metrics, alerts, queue), as it happens; options may be nil. A
// lost connection is made again; what happened meanwhile is told by the snapshot, where there is one. Close it when it
// is not needed any more.
func (client *Client) Updates(channel string, options *UpdateOptions) *Updates {
	ctx, cancel := context.WithCancel(client.context)
	updates := &Updates{told: make(chan *Update), cancel: cancel}
	subscription := struct {
		Action  string `json:"action"`
		Channel string `json:"channel"`
		*UpdateOptions
	}{"subscribe", channel, options}
	go func() {
		defer close(updates.told)
		updates.err = client.followUpdates(ctx, subscription, updates.told)
	}()
	return updates
}

// Updates is used as bufio.Scanner is: for updates.Next() { … updates.Update() … }, and Err in the end.
type Updates struct {
	told   chan *Update
	update *Update
	err    error
	cancel context.CancelFunc
}

// Next waits for the next update; false when there will be none.
func (updates *Updates) Next() bool {
	updates.update = <-updates.told
	return updates.update != nil
}

// Update returns the present update.
func (updates *Updates) Update() *Update { return updates.update }

// Err returns why Next ended: nil after Close.
func (updates *Updates) Err() error {
	if errors.Is(updates.err, context.Canceled) {
		return nil
	}
	return updates.err
}

// Close ends it.
func (updates *Updates) Close() {
	updates.cancel()
	for range updates.told {
	}
}

func (client *Client) followUpdates(ctx context.Context, subscription interface{}, told chan<- *Update) error {
	bound := client.WithContext(ctx)
	for lost := 0; ; {
		hasCome, err := bound.readUpdates(subscription, told)
		var refusal *Error
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.As(err, &refusal) {
			return err
		}
		if hasCome {
			lost = 0
		}
		lost++
		pause := client.retries.findPause(lost, nil)
		if pause == nil {
			return err
		}
		if err := bound.pause(*pause); err != nil {
			return err
		}
	}
}

func (client *Client) readUpdates(subscription interface{}, told chan<- *Update) (hasCome bool, err error) {
	var made struct {
		Ticket string `json:"ticket"`
	}
	// A ticket stands for the caller, whoever that is, and is good for one connection.
	if err := client.Call(http.MethodPost, "/ws/ticket", nil, nil, &made); err != nil {
		return false, err
	}
	socket, err := client.openSocket("/ws", url.Values{"ticket": {made.Ticket}})
	if err != nil {
		return false, err
	}
	defer socket.close()
	opened := time.Now()
	defer func() { hasCome = hasCome || time.Since(opened) > stood }()
	data, err := json.Marshal(subscription)
	if err != nil {
		return false, err
	}
	if err := socket.send(data); err != nil {
		return false, &ConnectionError{Err: err}
	}
	for {
		text, err := socket.receive()
		if err != nil {
			return hasCome, &ConnectionError{Err: err}
		}
		var said struct {
			Update
			Error *struct {
				Code      string                 `json:"code"`
				Message   string                 `json:"message"`
				Details   map[string]interface{} `json:"details"`
				RequestID string                 `json:"request_id"`
			} `json:"error"`
		}
		if err := json.Unmarshal(text, &said); err != nil {
			return hasCome, err
		}
		switch said.Action {
		case "error":
			return hasCome, &Error{
				Code: said.Error.Code, Message: said.Error.Message, Details: said.Error.Details, RequestID: said.Error.RequestID,
			}
		case "update", "created", "deleted", "snapshot":
			hasCome = true
			update := said.Update
			select {
			case told <- &update:
			case <-client.context.Done():
				return hasCome, client.context.Err()
			}
		}
	}
}
