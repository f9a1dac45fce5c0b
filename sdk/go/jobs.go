package s9s

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Job is one job. What SLURM does not tell is nil.
type Job struct {
	JobID            string     `json:"job_id"`
	JobName          string     `json:"job_name"`
	User             *string    `json:"user"`
	Account          *string    `json:"account"`
	Partition        *string    `json:"partition"`
	State            string     `json:"state"`
	SubmitTime       *time.Time `json:"submit_time"`
	StartTime        *time.Time `json:"start_time"`
	EndTime          *time.Time `json:"end_time"`
	ElapsedTime      string     `json:"elapsed_time"`
	TimeLimit        string     `json:"time_limit"`
	Nodes            []string   `json:"nodes"`
	NodeCount        *int       `json:"node_count"`
	CPUCount         *int       `json:"cpu_count"`
	Memory           *string    `json:"memory"`
	GPUs             int        `json:"gpus"`
	Priority         *int64     `json:"priority"`
	QOS              *string    `json:"qos"`
	WorkingDirectory *string    `json:"working_directory"`
	StandardOutput   *string    `json:"standard_output"`
	StandardError    *string    `json:"standard_error"`
	ExitCode         *int       `json:"exit_code"`
	Reason           *string    `json:"reason"`
	ReasonText       *string    `json:"reason_text"` // the reason in a sentence
}

// JobDetail is one job with all that is known of it.
type JobDetail struct {
	Job
	Command            *string           `json:"command"`
	Environment        map[string]string `json:"environment"`
	Resources          JobResources      `json:"resources"`
	Dependencies       []JobDependency   `json:"dependencies"`
	ArrayJobID         *string           `json:"array_job_id"`
	ArrayTaskID        *int              `json:"array_task_id"`
	ArrayTasksSummary  map[string]int    `json:"array_tasks_summary"`
	HetJobID           *string           `json:"het_job_id"`
	EstimatedStartTime *time.Time        `json:"estimated_start_time"`
	ExitSignal         *int              `json:"exit_signal"`
	SubmitLine         *string           `json:"submit_line"`
	BatchHost          *string           `json:"batch_host"`
	TRES               map[string]string `json:"tres"`
	Restarts           int               `json:"restarts"`
	Comment            *string           `json:"comment"`
	HoldReason         *string           `json:"hold_reason"`
	Source             string            `json:"source"`
}

// JobResources is what a job has used.
type JobResources struct {
	CPUEfficiency    *float64 `json:"cpu_efficiency"`
	MemoryEfficiency *float64 `json:"memory_efficiency"`
	GPUUtilization   *float64 `json:"gpu_utilization"`
	MaxMemoryUsed    *string  `json:"max_memory_used"`
	MaxCPUTime       *string  `json:"max_cpu_time"`
	UnknownBecause   *string  `json:"unknown_because"`
}

// JobDependency is a job that another one waits for.
type JobDependency struct {
	Type     string  `json:"type"`
	JobID    *string `json:"job_id"`
	State    string  `json:"state"`
	JobState *string `json:"job_state"`
}

// HasEnded tells whether the job is in a state that it stays in.
func (job *Job) HasEnded() bool {
	switch job.State {
	case "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE",
		"PREEMPTED", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL", "LOST":
		return true
	}
	return false
}

// JobPage is one page of a list of jobs.
type JobPage struct {
	Jobs    []Job `json:"jobs"`
	Total   int   `json:"total"`
	Limit   int   `json:"limit"`
	Offset  int   `json:"offset"`
	HasMore bool  `json:"has_more"`
	// Warnings say what may be missing.
	Warnings []string `json:"warnings"`
}

// JobListOptions says which jobs to list. What is empty is left to the server.
type JobListOptions struct {
	State        string
	User         string
	Partition    string
	Filter       string
	Sort         string
	Order        string
	Limit        int
	Offset       int
	ExpandArrays bool
	StartTime    time.Time
	EndTime      time.Time
	Cluster      string
}

func (options *JobListOptions) query() url.Values {
	if options == nil {
		return url.Values{}
	}
	return makeQuery(map[string]interface{}{
		"state": options.State, "user": options.User, "partition": options.Partition, "filter": options.Filter,
		"sort": options.Sort, "order": options.Order, "limit": options.Limit, "offset": options.Offset,
		"expand_arrays": options.ExpandArrays, "start_time": options.StartTime, "end_time": options.EndTime,
		"cluster": options.Cluster,
	})
}

// JobSubmitRequest is what to submit: Script is a script, the path of one, or a command.
type JobSubmitRequest struct {
	Name             string            `json:"job_name,omitempty"`
	Script           string            `json:"script"`
	Partition        string            `json:"partition,omitempty"`
	Nodes            int               `json:"nodes,omitempty"`
	CPUsPerNode      int               `json:"cpus_per_node,omitempty"`
	Memory           string            `json:"memory,omitempty"`
	GPUs             int               `json:"gpus,omitempty"`
	TimeLimit        string            `json:"time_limit,omitempty"`
	Account          string            `json:"account,omitempty"`
	QOS              string            `json:"qos,omitempty"`
	WorkingDirectory string            `json:"working_directory,omitempty"`
	StandardOutput   string            `json:"standard_output,omitempty"`
	StandardError    string            `json:"standard_error,omitempty"`
	Environment      map[string]string `json:"environment,omitempty"`
	Dependencies     []Dependency      `json:"dependencies,omitempty"`
	// Under one key it is submitted once, however often it is asked for. Each call has its own where this is empty.
	IdempotencyKey string `json:"-"`
}

// Dependency is a job to wait for.
type Dependency struct {
	Type  string `json:"type"`
	JobID string `json:"job_id,omitempty"`
}

// JobState is what became of a job.
type JobState struct {
	JobID      string  `json:"job_id"`
	State      string  `json:"state"`
	Message    string  `json:"message"`
	HoldReason *string `json:"hold_reason"`
}

// JobPriority is the new priority of a job.
type JobPriority struct {
	JobID    string `json:"job_id"`
	Priority int64  `json:"priority"`
	Message  string `json:"message"`
}

// Output is what a job has written to one of its files.
type Output struct {
	JobID      string   `json:"job_id"`
	Stream     string   `json:"stream"`
	Path       *string  `json:"path"`
	Exists     bool     `json:"exists"`
	Merged     bool     `json:"merged"`
	Lines      []string `json:"lines"`
	Content    string   `json:"content"`
	LineCount  int      `json:"line_count"`
	TotalBytes int64    `json:"total_bytes"`
	Offset     int64    `json:"offset"`
	Truncated  bool     `json:"truncated"`
	Restarted  bool     `json:"restarted"`
	Complete   bool     `json:"complete"`
}

// BulkRequest is what to do with many jobs: cancel, hold, release, requeue, suspend, resume, priority or signal.
type BulkRequest struct {
	Action  string       `json:"action"`
	JobIDs  []string     `json:"job_ids,omitempty"`
	Options *BulkOptions `json:"options,omitempty"`
}

// BulkOptions says how; Select stands for the caller's own jobs in these states.
type BulkOptions struct {
	Force    bool        `json:"force,omitempty"`
	Reason   string      `json:"reason,omitempty"`
	Priority *int64      `json:"priority,omitempty"`
	Signal   string      `json:"signal,omitempty"`
	Admin    bool        `json:"admin,omitempty"`
	DryRun   bool        `json:"dry_run,omitempty"`
	Select   *BulkSelect `json:"select,omitempty"`
}

// BulkSelect names states of jobs.
type BulkSelect struct {
	States []string `json:"states"`
}

// BulkResult says what became of each job.
type BulkResult struct {
	BatchID string `json:"batch_id"`
	Results []struct {
		JobID   string `json:"job_id"`
		Status  string `json:"status"`
		Message string `json:"message"`
	} `json:"results"`
	Summary struct {
		Total      int `json:"total"`
		Successful int `json:"successful"`
		Failed     int `json:"failed"`
	} `json:"summary"`
}

// Jobs is what can be done with jobs.
type Jobs struct{ client *Client }

func pathOf(jobID string) string { return "/jobs/" + url.PathEscape(jobID) }

// List returns one page of the jobs that fit.
func (jobs *Jobs) List(options *JobListOptions) (*JobPage, error) {
	page := &JobPage{}
	return page, jobs.client.Call(http.MethodGet, "/jobs", options.query(), nil, page)
}

// JobIDs are the ids of jobs that fit. Problem says what is wrong with a filter that was only to be checked.
type JobIDs struct {
	JobIDs   []string `json:"job_ids"`
	Total    int      `json:"total"`
	HasMore  bool     `json:"has_more"`
	Problem  string   `json:"problem"`
	Warnings []string `json:"warnings"`
}

// ListIDs returns the ids of all jobs that fit, in the order of List; options may be nil, and have no Offset.
// With ids in among it returns only those of them that fit.
func (jobs *Jobs) ListIDs(options *JobListOptions, among ...string) (*JobIDs, error) {
	query, found := options.query(), &JobIDs{}
	if len(among) > 0 {
		query.Set("among", strings.Join(among, ","))
	}
	return found, jobs.client.Call(http.MethodGet, "/jobs/ids", query, nil, found)
}

// FilterField is a field that a filter of jobs can name.
type FilterField struct {
	Name      string   `json:"name"`
	Aliases   []string `json:"aliases"`
	Kind      string   `json:"kind"`
	Operators []string `json:"operators"`
	Example   string   `json:"example"`
	Values    []string `json:"values"`
	CanSort   bool     `json:"can_sort"`
}

// FilterFields lists what a filter of jobs can say.
type FilterFields struct {
	Fields []FilterField `json:"fields"`
}

// ListFilterFields returns what a filter of jobs can say.
func (jobs *Jobs) ListFilterFields() (*FilterFields, error) {
	found := &FilterFields{}
	return found, jobs.client.Call(http.MethodGet, "/jobs/filter-fields", nil, nil, found)
}

// Iterate returns all jobs that fit, page by page; options may be nil.
func (jobs *Jobs) Iterate(options *JobListOptions) *Iterator[Job] {
	asked := JobListOptions{}
	if options != nil {
		asked = *options
	}
	name := func(job *Job) string { return job.JobID }
	return iterate(asked.Limit, name, func(limit, offset int) ([]Job, bool, error) {
		asked.Limit, asked.Offset = limit, offset
		page, err := jobs.List(&asked)
		return page.Jobs, page.HasMore, err
	})
}

// Get returns one job.
func (jobs *Jobs) Get(jobID string) (*JobDetail, error) {
	job := &JobDetail{}
	return job, jobs.client.Call(http.MethodGet, pathOf(jobID), nil, nil, job)
}

// Submit submits a job.
func (jobs *Jobs) Submit(request *JobSubmitRequest) (*JobState, error) {
	header := http.Header{}
	if request.IdempotencyKey != "" {
		header.Set("Idempotency-Key", request.IdempotencyKey)
	}
	made := &JobState{}
	return made, jobs.client.call(http.MethodPost, "/jobs", nil, request, header, made)
}

// CancelOptions says how a job is ended.
type CancelOptions struct {
	Signal string
	Force  bool
}

// Cancel cancels a job, or sends it a signal.
func (jobs *Jobs) Cancel(jobID string, options ...CancelOptions) (*JobState, error) {
	query := url.Values{}
	for _, given := range options {
		if given.Signal != "" {
			query.Set("signal", given.Signal)
		}
		if given.Force {
			query.Set("force", "true")
		}
	}
	state := &JobState{}
	return state, jobs.client.Call(http.MethodDelete, pathOf(jobID), query, nil, state)
}

func (jobs *Jobs) change(jobID, what string, body interface{}) (*JobState, error) {
	state := &JobState{}
	return state, jobs.client.Call(http.MethodPut, pathOf(jobID)+"/"+what, nil, body, state)
}

// Hold holds a waiting job; the reason may be empty.
func (jobs *Jobs) Hold(jobID, reason string) (*JobState, error) {
	body := map[string]string{}
	if reason != "" {
		body["reason"] = reason
	}
	return jobs.change(jobID, "hold", body)
}

// Release releases a held job.
func (jobs *Jobs) Release(jobID string) (*JobState, error) { return jobs.change(jobID, "release", nil) }

// Requeue puts a job back into the queue.
func (jobs *Jobs) Requeue(jobID string) (*JobState, error) { return jobs.change(jobID, "requeue", nil) }

// Suspend stops the processes of a running job.
func (jobs *Jobs) Suspend(jobID string) (*JobState, error) { return jobs.change(jobID, "suspend", nil) }

// Resume lets a suspended job go on.
func (jobs *Jobs) Resume(jobID string) (*JobState, error) { return jobs.change(jobID, "resume", nil) }

// SetPriority sets the priority of a waiting job.
func (jobs *Jobs) SetPriority(jobID string, priority int64) (*JobPriority, error) {
	made := &JobPriority{}
	body := map[string]int64{"priority": priority}
	return made, jobs.client.Call(http.MethodPut, pathOf(jobID)+"/priority", nil, body, made)
}

// Bulk does the same to many jobs.
func (jobs *Jobs) Bulk(request *BulkRequest) (*BulkResult, error) {
	result := &BulkResult{}
	return result, jobs.client.Call(http.MethodPost, "/jobs/bulk", nil, request, result)
}

// OutputOptions says what to read: the last Lines, or what follows Offset. Nil leaves it to the server.
type OutputOptions struct {
	Lines  *int
	Offset *int64
}

// Output returns what the job has written to its standard output; options may be nil.
func (jobs *Jobs) Output(jobID string, options *OutputOptions) (*Output, error) {
	return jobs.read(jobID, "output", options)
}

// Error returns what the job has written to its standard error; options may be nil.
func (jobs *Jobs) Error(jobID string, options *OutputOptions) (*Output, error) {
	return jobs.read(jobID, "error", options)
}

func (jobs *Jobs) read(jobID, stream string, options *OutputOptions) (*Output, error) {
	query := url.Values{}
	if options != nil && options.Lines != nil {
		query.Set("lines", strconv.Itoa(*options.Lines))
	}
	if options != nil && options.Offset != nil {
		query.Set("offset", strconv.FormatInt(*options.Offset, 10))
	}
	output := &Output{}
	return output, jobs.client.Call(http.MethodGet, pathOf(jobID)+"/"+stream, query, nil, output)
}

// Script is the script of a job.
type Script struct {
	JobID  string `json:"job_id"`
	Script string `json:"script"`
	Source string `json:"source"`
}

// Script returns the script of a job.
func (jobs *Jobs) Script(jobID string) (*Script, error) {
	script := &Script{}
	return script, jobs.client.Call(http.MethodGet, pathOf(jobID)+"/script", nil, nil, script)
}

var pauses = []time.Duration{
	200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second,
}

// Wait waits until the job has ended, at most for the timeout; 0 stands for ever.
func (jobs *Jobs) Wait(jobID string, timeout time.Duration) (*JobDetail, error) {
	begin := time.Now()
	for asked := 0; ; asked++ {
		job, err := jobs.Get(jobID)
		if err != nil || job.HasEnded() {
			return job, err
		}
		pause := pauses[len(pauses)-1]
		if asked < len(pauses) {
			pause = pauses[asked]
		}
		if timeout > 0 {
			left := timeout - time.Since(begin)
			if left <= 0 {
				return job, &WaitTimeout{Job: job}
			}
			if left < pause {
				pause = left
			}
		}
		if err := jobs.client.pause(pause); err != nil {
			return job, err
		}
	}
}

// FollowOptions says what to follow: Stream is output (where it is empty) or error, from this offset on.
type FollowOptions struct {
	Stream string
	Offset int64
}

// Follow returns what the job writes, as it comes, until it has ended; options may be nil. A lost connection is made
// again where it was. Close the reader when it is not needed any more.
func (jobs *Jobs) Follow(jobID string, options *FollowOptions) io.ReadCloser {
	given := FollowOptions{Stream: "output"}
	if options != nil {
		given.Offset = options.Offset
		if options.Stream != "" {
			given.Stream = options.Stream
		}
	}
	reader, writer := io.Pipe()
	ctx, cancel := context.WithCancel(jobs.client.context)
	go func() {
		defer cancel()
		writer.CloseWithError(jobs.copyEvents(ctx, jobID, given, writer))
	}()
	return &followed{reader, cancel}
}

type followed struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close ends the following.
func (stream *followed) Close() error {
	stream.cancel()
	return stream.PipeReader.Close()
}

func (jobs *Jobs) copyEvents(ctx context.Context, jobID string, given FollowOptions, to io.Writer) error {
	for lost := 0; ; {
		hasEnded, hasCome, err := jobs.copyStream(ctx, jobID, &given, to)
		var refusal *Error
		if hasEnded || errors.As(err, &refusal) || errors.Is(err, io.ErrClosedPipe) || ctx.Err() != nil {
			return err
		}
		if hasCome {
			lost = 0
		}
		lost++
		wait := jobs.client.retries.findPause(lost, nil)
		if wait == nil {
			if err == nil {
				err = &ConnectionError{Err: errors.New("the server ended the stream again and again")}
			}
			return err
		}
		if err := pause(ctx, *wait); err != nil {
			return err
		}
	}
}

// silence is how long nothing comes only where the connection is lost: the server sends a comment more often.
const silence = time.Minute

// stood is how long a connection lasts that is not lost again and again, however silent it was.
const stood = 20 * time.Second

func (jobs *Jobs) copyStream(
	ctx context.Context, jobID string, given *FollowOptions, to io.Writer,
) (hasEnded, hasCome bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	query := url.Values{"follow": {"true"}, "offset": {strconv.FormatInt(given.Offset, 10)}}
	header := http.Header{"Accept": {"text/event-stream"}}
	response, err := jobs.client.send(ctx, cancel, http.MethodGet, pathOf(jobID)+"/"+given.Stream, query, nil, header)
	if err != nil {
		return false, false, err
	}
	defer response.Body.Close()
	opened := time.Now()
	defer func() { hasCome = hasCome || time.Since(opened) > stood }()
	timer := time.AfterFunc(silence, cancel)
	defer timer.Stop()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 16_000_000)
	var event, id, data string
	for lines.Scan() {
		timer.Reset(silence)
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case name == "event":
			event = value
		case name == "id":
			id = value
		case name == "data":
			data += value
		case lines.Text() == "" && data != "":
			hasCome = true
			switch event {
			case "end":
				return true, true, nil
			case "truncated":
				given.Offset = 0
			case "output":
				var said struct {
					Data string `json:"data"`
				}
				if err := json.Unmarshal([]byte(data), &said); err != nil {
					return false, true, err
				}
				if _, err := io.WriteString(to, said.Data); err != nil {
					return false, true, err
				}
				if next, err := strconv.ParseInt(id, 10, 64); err == nil {
					given.Offset = next
				}
			}
			event, data = "", ""
		}
	}
	if err := lines.Err(); err != nil {
		return false, hasCome, &ConnectionError{Err: err}
	}
	return false, hasCome, nil
}
