package s9s

import (
	"net/http"
	"net/url"
	"time"
)

// ClusterMetrics is how the cluster is used now. What cannot be told is nil.
type ClusterMetrics struct {
	Timestamp          *time.Time         `json:"timestamp"`
	ClusterUtilization ClusterUtilization `json:"cluster_utilization"`
	JobCounts          map[string]int     `json:"job_counts"`
	NodeCounts         map[string]int     `json:"node_counts"`
	QueueStats         QueueStats         `json:"queue_stats"`
}

// ClusterUtilization is what is allocated, in percent.
type ClusterUtilization struct {
	CPUPercent    *float64 `json:"cpu_percent"`
	MemoryPercent *float64 `json:"memory_percent"`
	GPUPercent    *float64 `json:"gpu_percent"`
}

// QueueStats is how long jobs wait, and how many end in an hour.
type QueueStats struct {
	AvgWaitTime *string `json:"avg_wait_time"`
	MaxWaitTime *string `json:"max_wait_time"`
	Throughput  float64 `json:"throughput"`
}

// PerformanceMetrics is how the cluster was used, by intervals.
type PerformanceMetrics struct {
	Metrics  []IntervalMetrics `json:"metrics"`
	Interval string            `json:"interval"`
	Count    int               `json:"count"`
}

// IntervalMetrics is one interval; gaps have nil.
type IntervalMetrics struct {
	Timestamp         time.Time `json:"timestamp"`
	CPUUtilization    *float64  `json:"cpu_utilization"`
	MemoryUtilization *float64  `json:"memory_utilization"`
	GPUUtilization    *float64  `json:"gpu_utilization"`
	JobsSubmitted     *int      `json:"jobs_submitted"`
	JobsCompleted     *int      `json:"jobs_completed"`
	AvgQueueTime      *int      `json:"avg_queue_time"` // seconds
}

// Efficiency is what a job has used of what it was given.
type Efficiency struct {
	JobID            string   `json:"job_id"`
	JobName          string   `json:"job_name"`
	User             string   `json:"user"`
	Partition        string   `json:"partition"`
	State            string   `json:"state"`
	ElapsedTime      string   `json:"elapsed_time"`
	CPUEfficiency    *float64 `json:"cpu_efficiency"`
	MemoryEfficiency *float64 `json:"memory_efficiency"`
	GPUUtilization   *float64 `json:"gpu_utilization"`
	MaxMemoryUsed    *string  `json:"max_memory_used"`
	RequestedMemory  *string  `json:"requested_memory"`
	WastedCPUHours   *float64 `json:"wasted_cpu_hours"`
}

// EfficiencyPage is one page of jobs, and the sum of all.
type EfficiencyPage struct {
	Jobs    []Efficiency      `json:"jobs"`
	Total   int               `json:"total"`
	Limit   int               `json:"limit"`
	Offset  int               `json:"offset"`
	HasMore bool              `json:"has_more"`
	Summary EfficiencySummary `json:"summary"`
}

// EfficiencySummary is the sum of all jobs that fit.
type EfficiencySummary struct {
	Count               int      `json:"count"`
	AvgCPUEfficiency    *float64 `json:"avg_cpu_efficiency"`
	AvgMemoryEfficiency *float64 `json:"avg_memory_efficiency"`
	WastedCPUHours      *float64 `json:"wasted_cpu_hours"`
}

// PerformanceOptions says of which time, by which interval (1m, 5m, 1h, 1d). What is empty is left to the server.
type PerformanceOptions struct {
	StartTime time.Time
	EndTime   time.Time
	Interval  string
}

// EfficiencyOptions says of which jobs. What is empty is left to the server.
type EfficiencyOptions struct {
	User       string
	Partition  string
	MinRuntime string
	StartTime  time.Time
	Limit      int
	Offset     int
}

// Metrics is what can be measured.
type Metrics struct{ client *Client }

// Cluster returns how the cluster is used now.
func (metrics *Metrics) Cluster() (*ClusterMetrics, error) {
	now := &ClusterMetrics{}
	return now, metrics.client.Call(http.MethodGet, "/metrics/cluster", nil, nil, now)
}

// Performance returns how it was used; options may be nil.
func (metrics *Metrics) Performance(options *PerformanceOptions) (*PerformanceMetrics, error) {
	query := url.Values{}
	if options != nil {
		query = makeQuery(map[string]interface{}{
			"start_time": options.StartTime, "end_time": options.EndTime, "interval": options.Interval,
		})
	}
	found := &PerformanceMetrics{}
	return found, metrics.client.Call(http.MethodGet, "/metrics/performance", query, nil, found)
}

// Efficiency returns what jobs have used of what they were given; options may be nil.
func (metrics *Metrics) Efficiency(options *EfficiencyOptions) (*EfficiencyPage, error) {
	query := url.Values{}
	if options != nil {
		query = makeQuery(map[string]interface{}{
			"user": options.User, "partition": options.Partition, "min_runtime": options.MinRuntime,
			"start_time": options.StartTime, "limit": options.Limit, "offset": options.Offset,
		})
	}
	page := &EfficiencyPage{}
	return page, metrics.client.Call(http.MethodGet, "/metrics/efficiency", query, nil, page)
}

// Alert is what needs somebody's attention.
type Alert struct {
	AlertID        string     `json:"alert_id"`
	Severity       string     `json:"severity"`
	Type           string     `json:"type"`
	Title          string     `json:"title"`
	Message        string     `json:"message"`
	Component      string     `json:"component"`
	Acknowledged   bool       `json:"acknowledged"`
	AcknowledgedAt *time.Time `json:"acknowledged_at"`
	AcknowledgedBy *string    `json:"acknowledged_by"`
	Resolved       bool       `json:"resolved"`
	ResolvedAt     *time.Time `json:"resolved_at"`
	ResolvedBy     *string    `json:"resolved_by"`
	CreatedAt      time.Time  `json:"created_at"`
	UpdatedAt      time.Time  `json:"updated_at"`
	Cluster        string     `json:"cluster"`
}

// AlertPage is one page of the list of alerts.
type AlertPage struct {
	Alerts  []Alert `json:"alerts"`
	Total   int     `json:"total"`
	Limit   int     `json:"limit"`
	Offset  int     `json:"offset"`
	HasMore bool    `json:"has_more"`
}

// AlertListOptions says which alerts to list. What is empty is left to the server.
type AlertListOptions struct {
	Severity     string
	Type         string
	Acknowledged *bool
	Resolved     *bool
	Limit        int
	Offset       int
}

// Alerts is what can be done with alerts.
type Alerts struct{ client *Client }

// List returns one page of the alerts that fit; options may be nil.
func (alerts *Alerts) List(options *AlertListOptions) (*AlertPage, error) {
	query := url.Values{}
	if options != nil {
		query = makeQuery(map[string]interface{}{
			"severity": options.Severity, "type": options.Type, "acknowledged": options.Acknowledged,
			"resolved": options.Resolved, "limit": options.Limit, "offset": options.Offset,
		})
	}
	page := &AlertPage{}
	return page, alerts.client.Call(http.MethodGet, "/alerts", query, nil, page)
}

// Iterate returns all alerts that fit, page by page.
func (alerts *Alerts) Iterate(options *AlertListOptions) *Iterator[Alert] {
	asked := AlertListOptions{}
	if options != nil {
		asked = *options
	}
	name := func(alert *Alert) string { return alert.AlertID }
	return iterate(asked.Limit, name, func(limit, offset int) ([]Alert, bool, error) {
		asked.Limit, asked.Offset = limit, offset
		page, err := alerts.List(&asked)
		return page.Alerts, page.HasMore, err
	})
}

// Acknowledge says that somebody looks after it.
func (alerts *Alerts) Acknowledge(alertID string) (*Alert, error) {
	return alerts.change(alertID, "acknowledge")
}

// Resolve says that it is over.
func (alerts *Alerts) Resolve(alertID string) (*Alert, error) {
	return alerts.change(alertID, "resolve")
}

func (alerts *Alerts) change(alertID, what string) (*Alert, error) {
	alert := &Alert{}
	path := "/alerts/" + url.PathEscape(alertID) + "/" + what
	return alert, alerts.client.Call(http.MethodPut, path, nil, nil, alert)
}

// SearchResult is one thing that was found.
type SearchResult struct {
	Type        string  `json:"type"`
	ID          string  `json:"id"`
	Title       string  `json:"title"`
	Description string  `json:"description"`
	URL         string  `json:"url"`
	Score       float64 `json:"score"`
}

// SearchResults is what was found; the best come first.
type SearchResults struct {
	Results   []SearchResult `json:"results"`
	Total     int            `json:"total"`
	QueryTime float64        `json:"query_time"` // seconds
	Warnings  []string       `json:"warnings"`   // what may be missing
}

// SearchOptions says what to search: jobs, nodes, users, partitions, workflows, runs. What is empty is left to the server.
type SearchOptions struct {
	Type  string
	Limit int
}

// Search searches jobs, nodes, users, partitions, workflows and runs; options may be nil.
func (client *Client) Search(q string, options *SearchOptions) (*SearchResults, error) {
	query := url.Values{"q": {q}}
	if options != nil {
		query = makeQuery(map[string]interface{}{"q": q, "type": options.Type, "limit": options.Limit})
	}
	found := &SearchResults{}
	return found, client.Call(http.MethodGet, "/search", query, nil, found)
}

// Status is the state of server and cluster, and who calls.
type Status struct {
	Status        string      `json:"status"`
	Version       string      `json:"version"`
	APIVersion    string      `json:"api_version"`
	Cluster       string      `json:"cluster"`
	Slurm         SlurmStatus `json:"slurm"`
	User          Caller      `json:"user"`
	UptimeSeconds int         `json:"uptime_seconds"`
	Timestamp     time.Time   `json:"timestamp"`
}

// SlurmStatus is how SLURM does.
type SlurmStatus struct {
	Version    *string    `json:"version"`
	Controller string     `json:"controller"`
	Database   *string    `json:"database"`
	LastPoll   *time.Time `json:"last_poll"`
	AgeSeconds *float64   `json:"age_seconds"`
	Error      *string    `json:"error"`
}

// Caller is who calls, and what it may do.
type Caller struct {
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`
}

// Status returns the state of server and cluster, and who calls.
func (client *Client) Status() (*Status, error) {
	status := &Status{}
	return status, client.Call(http.MethodGet, "/status", nil, nil, status)
}
