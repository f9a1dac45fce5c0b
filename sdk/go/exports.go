package s9s

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Export is a file of rows that the server makes in the background.
type Export struct {
	ExportID    string                 `json:"export_id"`
	Status      string                 `json:"status"`
	DownloadURL *string                `json:"download_url"`
	Type        string                 `json:"type"`
	Format      string                 `json:"format"`
	Fields      []string               `json:"fields"`
	Filter      map[string]interface{} `json:"filter"`
	Filename    string                 `json:"filename"`
	FileSize    *int64                 `json:"file_size"`
	RecordCount *int                   `json:"record_count"`
	RowsWritten int                    `json:"rows_written"`
	CreatedAt   time.Time              `json:"created_at"`
	CompletedAt *time.Time             `json:"completed_at"`
	ExpiresAt   time.Time              `json:"expires_at"`
	Error       *string                `json:"error"`
}

// ExportRequest says which rows to export, and how.
type ExportRequest struct {
	Type    string                 `json:"type"`
	Format  string                 `json:"format"`
	Filter  map[string]string      `json:"filter,omitempty"`
	Fields  []string               `json:"fields,omitempty"`
	Options map[string]interface{} `json:"options,omitempty"`
}

// ExportPage is one page of the list of exports.
type ExportPage struct {
	Exports []Export `json:"exports"`
	Total   int      `json:"total"`
	Limit   int      `json:"limit"`
	Offset  int      `json:"offset"`
	HasMore bool     `json:"has_more"`
}

// Exports is what can be done with exports.
type Exports struct{ client *Client }

func exportPath(exportID string) string { return "/exports/" + url.PathEscape(exportID) }

// Create begins an export.
func (exports *Exports) Create(request *ExportRequest) (*Export, error) {
	made := &Export{}
	return made, exports.client.Call(http.MethodPost, "/export", nil, request, made)
}

// List returns one page of the exports, newest first; a limit of 0 is left to the server.
func (exports *Exports) List(limit, offset int) (*ExportPage, error) {
	query := url.Values{}
	if limit != 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	if offset != 0 {
		query.Set("offset", strconv.Itoa(offset))
	}
	page := &ExportPage{}
	return page, exports.client.Call(http.MethodGet, "/exports", query, nil, page)
}

// Get returns the state of an export.
func (exports *Exports) Get(exportID string) (*Export, error) {
	made := &Export{}
	return made, exports.client.Call(http.MethodGet, exportPath(exportID), nil, nil, made)
}

// Wait waits until an export is made or has failed. The context of the client ends it before.
func (exports *Exports) Wait(exportID string) (*Export, error) {
	for {
		made, err := exports.Get(exportID)
		if err != nil || made.Status != "processing" {
			return made, err
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-exports.client.context.Done():
			return made, exports.client.context.Err()
		}
	}
}

// Download copies the file of an export.
func (exports *Exports) Download(exportID string, to io.Writer) (int64, error) {
	ctx, cancel := context.WithCancel(exports.client.context)
	defer cancel()
	header := http.Header{"Accept": {"*/*"}}
	path := exportPath(exportID) + "/download"
	response, err := exports.client.send(ctx, cancel, http.MethodGet, path, nil, nil, header)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return io.Copy(to, response.Body)
}

// Delete cancels an export, or deletes it with its file.
func (exports *Exports) Delete(exportID string) error {
	return exports.client.Call(http.MethodDelete, exportPath(exportID), nil, nil, nil)
}
