package s9s

import (
	"io"
	"net/http"
	"time"
)

// Report sums up a period; the server makes it in the background.
type Report struct {
	ReportID    string                 `json:"report_id"`
	Type        string                 `json:"type"`
	Format      string                 `json:"format"`
	Status      string                 `json:"status"`
	DownloadURL *string                `json:"download_url"`
	Parameters  map[string]interface{} `json:"parameters"`
	Delivery    ReportDelivery         `json:"delivery"`
	Filename    string                 `json:"filename"`
	FileSize    *int64                 `json:"file_size"`
	CreatedAt   time.Time              `json:"created_at"`
	CompletedAt *time.Time             `json:"completed_at"`
	ExpiresAt   time.Time              `json:"expires_at"`
	Error       *string                `json:"error"`
}

// ReportDelivery is where a report goes to, and whether it has arrived.
type ReportDelivery struct {
	Method     string  `json:"method"`
	Email      *string `json:"email"`
	Status     *string `json:"status"`
	DeliveryID *int    `json:"delivery_id"`
}

// ReportRequest says what to report, of which time, and where to send it.
type ReportRequest struct {
	Type       string                 `json:"type"`
	Format     string                 `json:"format"`
	Parameters map[string]interface{} `json:"parameters,omitempty"`
	Delivery   map[string]string      `json:"delivery,omitempty"`
}

// ReportPage is one page of the list of reports.
type ReportPage struct {
	Reports []Report `json:"reports"`
	Total   int      `json:"total"`
	Limit   int      `json:"limit"`
	Offset  int      `json:"offset"`
	HasMore bool     `json:"has_more"`
}

// Reports is what can be done with reports.
type Reports struct{ client *Client }

// Create begins a report.
func (reports *Reports) Create(request *ReportRequest) (*Report, error) {
	made := &Report{}
	return made, reports.client.Call(http.MethodPost, "/reports", nil, request, made)
}

// List returns one page of the reports, newest first; options may be nil.
func (reports *Reports) List(options *PageOptions) (*ReportPage, error) {
	page := &ReportPage{}
	return page, reports.client.Call(http.MethodGet, "/reports", options.query(), nil, page)
}

// Iterate returns all reports, page by page.
func (reports *Reports) Iterate() *Iterator[Report] {
	name := func(report *Report) string { return report.ReportID }
	return iterate(0, name, func(limit, offset int) ([]Report, bool, error) {
		page, err := reports.List(&PageOptions{limit, offset})
		return page.Reports, page.HasMore, err
	})
}

// Get returns the state of a report.
func (reports *Reports) Get(reportID string) (*Report, error) {
	made := &Report{}
	return made, reports.client.Call(http.MethodGet, filePath("reports", reportID), nil, nil, made)
}

// Wait waits until a report is made or has failed. The context of the client ends it before.
func (reports *Reports) Wait(reportID string) (*Report, error) {
	for {
		made, err := reports.Get(reportID)
		if err != nil || made.Status != "processing" {
			return made, err
		}
		if err := reports.client.pause(500 * time.Millisecond); err != nil {
			return made, err
		}
	}
}

// Download copies the file of a report.
func (reports *Reports) Download(reportID string, to io.Writer) (int64, error) {
	return reports.client.download(filePath("reports", reportID), to)
}

// Delete cancels a report, or deletes it with its file.
func (reports *Reports) Delete(reportID string) error {
	return reports.client.Call(http.MethodDelete, filePath("reports", reportID), nil, nil, nil)
}
