package s9s

import (
	"io"
	"net/http"
	"net/url"
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

func filePath(kind, id string) string { return "/" + kind + "/" + url.PathEscape(id) }

// Create begins an export.
func (exports *Exports) Create(request *ExportRequest) (*Export, error) {
	made := &Export{}
	return made, exports.client.Call(http.MethodPost, "/export", nil, request, made)
}

// List returns one page of the exports, newest first; options may be nil.
func (exports *Exports) List(options *PageOptions) (*ExportPage, error) {
	page := &ExportPage{}
	return page, exports.client.Call(http.MethodGet, "/exports", options.query(), nil, page)
}

// Iterate returns all exports, page by page.
func (exports *Exports) Iterate() *Iterator[Export] {
	name := func(export *Export) string { return export.ExportID }
	return iterate(0, name, func(limit, offset int) ([]Export, bool, error) {
		page, err := exports.List(&PageOptions{limit, offset})
		return page.Exports, page.HasMore, err
	})
}

// Get returns the state of an export.
func (exports *Exports) Get(exportID string) (*Export, error) {
	made := &Export{}
	return made, exports.client.Call(http.MethodGet, filePath("exports", exportID), nil, nil, made)
}

// Wait waits until an export is made or has failed. The context of the client ends it before.
func (exports *Exports) Wait(exportID string) (*Export, error) {
	for {
		made, err := exports.Get(exportID)
		if err != nil || made.Status != "processing" {
			return made, err
		}
		if err := exports.client.pause(500 * time.Millisecond); err != nil {
			return made, err
		}
	}
}

// Download copies the file of an export.
func (exports *Exports) Download(exportID string, to io.Writer) (int64, error) {
	return exports.client.download(filePath("exports", exportID), to)
}

// Delete cancels an export, or deletes it with its file.
func (exports *Exports) Delete(exportID string) error {
	return exports.client.Call(http.MethodDelete, filePath("exports", exportID), nil, nil, nil)
}
