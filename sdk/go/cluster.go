package s9s

import (
	"net/http"
	"net/url"
	"time"
)

// Node is one machine of the cluster. What SLURM does not tell is nil.
type Node struct {
	NodeName        string     `json:"node_name"`
	State           string     `json:"state"`
	Partitions      []string   `json:"partitions"`
	CPUTotal        int        `json:"cpu_total"`
	CPUAllocated    int        `json:"cpu_allocated"`
	CPULoad         *float64   `json:"cpu_load"`
	MemoryTotal     *string    `json:"memory_total"`
	MemoryAllocated *string    `json:"memory_allocated"`
	MemoryFree      *string    `json:"memory_free"`
	GPUsTotal       int        `json:"gpus_total"`
	GPUsAllocated   int        `json:"gpus_allocated"`
	Features        []string   `json:"features"`
	Architecture    *string    `json:"architecture"`
	OS              *string    `json:"os"`
	BootTime        *time.Time `json:"boot_time"`
	LastBusy        *time.Time `json:"last_busy"`
	Jobs            []string   `json:"jobs"`
	Reason          *string    `json:"reason"`
	StateFlags      []string   `json:"state_flags"`
	StateRaw        string     `json:"state_raw"`
}

// NodeDetail is one node with all that is known of it.
type NodeDetail struct {
	Node
	Available       bool              `json:"available"`
	Hostname        string            `json:"hostname"`
	Address         *string           `json:"address"`
	SlurmVersion    *string           `json:"slurm_version"`
	Sockets         *int              `json:"sockets"`
	CoresPerSocket  *int              `json:"cores_per_socket"`
	ThreadsPerCore  *int              `json:"threads_per_core"`
	TmpDisk         *string           `json:"tmp_disk"`
	Weight          *int              `json:"weight"`
	SlurmdStartTime *time.Time        `json:"slurmd_start_time"`
	ReasonSetBy     *string           `json:"reason_set_by"`
	ReasonSetAt     *time.Time        `json:"reason_set_at"`
	ResumeAt        *time.Time        `json:"resume_at"`
	Comment         *string           `json:"comment"`
	TRESConfigured  map[string]string `json:"tres_configured"`
	TRESAllocated   map[string]string `json:"tres_allocated"`
	RunningJobs     []NodeJob         `json:"running_jobs"`
}

// NodeJob is a job that runs on a node.
type NodeJob struct {
	JobID string  `json:"job_id"`
	User  *string `json:"user"`
	State string  `json:"state"`
	CPUs  *int    `json:"cpus"`
	GPUs  int     `json:"gpus"`
}

// NodeChange is what became of a node.
type NodeChange struct {
	NodeName string      `json:"node_name"`
	State    *string     `json:"state"`
	Reason   *string     `json:"reason"`
	Message  string      `json:"message"`
	ResumeAt *time.Time  `json:"resume_at"`
	Nodes    []NodeState `json:"nodes"`
}

// NodeState is the state of one of several nodes.
type NodeState struct {
	NodeName string  `json:"node_name"`
	State    string  `json:"state"`
	Reason   *string `json:"reason"`
}

// NodeList is a list of nodes.
type NodeList struct {
	Nodes []Node `json:"nodes"`
	Total int    `json:"total"`
}

// NodeListOptions says which nodes to list. What is empty is left to the server.
type NodeListOptions struct {
	State     string
	Partition string
	Features  string
	Available *bool
	Limit     int
	Offset    int
}

// Nodes is what can be done with nodes.
type Nodes struct{ client *Client }

// List returns the nodes that fit; options may be nil.
func (nodes *Nodes) List(options *NodeListOptions) (*NodeList, error) {
	query := url.Values{}
	if options != nil {
		query = makeQuery(map[string]interface{}{
			"state": options.State, "partition": options.Partition, "features": options.Features,
			"available": options.Available, "limit": options.Limit, "offset": options.Offset,
		})
	}
	list := &NodeList{}
	return list, nodes.client.Call(http.MethodGet, "/nodes", query, nil, list)
}

// Get returns one node.
func (nodes *Nodes) Get(name string) (*NodeDetail, error) {
	node := &NodeDetail{}
	return node, nodes.client.Call(http.MethodGet, "/nodes/"+url.PathEscape(name), nil, nil, node)
}

// Drain gives a node no new jobs. With a timeout ("2h") it resumes by itself; it may be empty.
func (nodes *Nodes) Drain(name, reason, timeout string) (*NodeChange, error) {
	body := map[string]string{"reason": reason}
	if timeout != "" {
		body["timeout"] = timeout
	}
	return nodes.change(name, "drain", body)
}

// Resume lets a node take jobs again.
func (nodes *Nodes) Resume(name string) (*NodeChange, error) {
	return nodes.change(name, "resume", nil)
}

// SetState sets the state of a node; the reason may be empty where SLURM wants none.
func (nodes *Nodes) SetState(name, state, reason string) (*NodeChange, error) {
	body := map[string]string{"state": state}
	if reason != "" {
		body["reason"] = reason
	}
	return nodes.change(name, "state", body)
}

func (nodes *Nodes) change(name, what string, body interface{}) (*NodeChange, error) {
	changed := &NodeChange{}
	path := "/nodes/" + url.PathEscape(name) + "/" + what
	return changed, nodes.client.Call(http.MethodPut, path, nil, body, changed)
}

// User is one user of the cluster.
type User struct {
	Username       string        `json:"username"`
	DefaultAccount *string       `json:"default_account"`
	AdminLevel     *string       `json:"admin_level"`
	JobsRunning    int           `json:"jobs_running"`
	JobsPending    int           `json:"jobs_pending"`
	CPUTimeUsed    *string       `json:"cpu_time_used"`
	Associations   []Association `json:"associations"`
}

// Association is an account that a user may use.
type Association struct {
	Account   string   `json:"account"`
	Partition *string  `json:"partition"`
	QOS       []string `json:"qos"`
}

// UserDetail is one user with limits and recent jobs.
type UserDetail struct {
	User
	UID        *int       `json:"uid"`
	Limits     UserLimits `json:"limits"`
	RecentJobs []Job      `json:"recent_jobs"`
}

// UserLimits is what a user may use at most; nil stands for no limit.
type UserLimits struct {
	MaxJobs   *int              `json:"max_jobs"`
	MaxSubmit *int              `json:"max_submit"`
	MaxWall   *string           `json:"max_wall"`
	MaxTRES   map[string]string `json:"max_tres"`
}

// UserList is a list of users; Accounting tells whether slurmdbd has told it.
type UserList struct {
	Users      []User `json:"users"`
	Total      int    `json:"total"`
	Accounting bool   `json:"accounting"`
}

// Users is what can be asked about users.
type Users struct{ client *Client }

// List returns the users; options may be nil.
func (users *Users) List(options *PageOptions) (*UserList, error) {
	list := &UserList{}
	return list, users.client.Call(http.MethodGet, "/users", options.query(), nil, list)
}

// Get returns one user.
func (users *Users) Get(name string) (*UserDetail, error) {
	user := &UserDetail{}
	return user, users.client.Call(http.MethodGet, "/users/"+url.PathEscape(name), nil, nil, user)
}

// Partition is one partition of the cluster.
type Partition struct {
	Name           string   `json:"name"`
	State          string   `json:"state"`
	NodesTotal     int      `json:"nodes_total"`
	NodesIdle      int      `json:"nodes_idle"`
	NodesAllocated int      `json:"nodes_allocated"`
	NodesMixed     int      `json:"nodes_mixed"`
	CPUsTotal      int      `json:"cpus_total"`
	CPUsAllocated  int      `json:"cpus_allocated"`
	DefaultTime    *string  `json:"default_time"`
	MaxTime        string   `json:"max_time"`
	MaxNodes       *int     `json:"max_nodes"`
	Priority       *int     `json:"priority"`
	QOS            *string  `json:"qos"`
	Features       []string `json:"features"`
}

// PartitionDetail is one partition with its nodes and the load.
type PartitionDetail struct {
	Partition
	IsDefault     bool     `json:"is_default"`
	Nodes         []string `json:"nodes"`
	NodesDown     int      `json:"nodes_down"`
	GPUsTotal     int      `json:"gpus_total"`
	GPUsAllocated int      `json:"gpus_allocated"`
	AllowAccounts []string `json:"allow_accounts"` // nil stands for all
	JobsRunning   int      `json:"jobs_running"`
	JobsPending   int      `json:"jobs_pending"`
}

// PartitionList is a list of partitions.
type PartitionList struct {
	Partitions []Partition `json:"partitions"`
	Total      int         `json:"total"`
}

// Partitions is what can be asked about partitions.
type Partitions struct{ client *Client }

// List returns the partitions; options may be nil.
func (partitions *Partitions) List(options *PageOptions) (*PartitionList, error) {
	list := &PartitionList{}
	return list, partitions.client.Call(http.MethodGet, "/partitions", options.query(), nil, list)
}

// Get returns one partition.
func (partitions *Partitions) Get(name string) (*PartitionDetail, error) {
	partition := &PartitionDetail{}
	return partition, partitions.client.Call(http.MethodGet, "/partitions/"+url.PathEscape(name), nil, nil, partition)
}

// Reservation is a time for which nodes are kept for somebody.
type Reservation struct {
	Name      string            `json:"name"`
	State     string            `json:"state"`
	StartTime *time.Time        `json:"start_time"`
	EndTime   *time.Time        `json:"end_time"`
	Duration  *string           `json:"duration"`
	Nodes     []string          `json:"nodes"`
	NodeCount int               `json:"node_count"`
	CoreCount int               `json:"core_count"`
	Partition *string           `json:"partition"`
	Features  []string          `json:"features"`
	Flags     []string          `json:"flags"`
	TRES      map[string]string `json:"tres"`
	Users     []string          `json:"users"`
	Groups    []string          `json:"groups"`
	Accounts  []string          `json:"accounts"`
	Licenses  []string          `json:"licenses"`
}

// ReservationList is a list of reservations.
type ReservationList struct {
	Reservations []Reservation `json:"reservations"`
	Total        int           `json:"total"`
}

// Reservations is what can be asked about reservations.
type Reservations struct{ client *Client }

// List returns the reservations; options may be nil.
func (reservations *Reservations) List(options *PageOptions) (*ReservationList, error) {
	list := &ReservationList{}
	return list, reservations.client.Call(http.MethodGet, "/reservations", options.query(), nil, list)
}

// Get returns one reservation.
func (reservations *Reservations) Get(name string) (*Reservation, error) {
	found := &Reservation{}
	return found, reservations.client.Call(http.MethodGet, "/reservations/"+url.PathEscape(name), nil, nil, found)
}

// QOS is a quality of service.
type QOS struct {
	Name              string    `json:"name"`
	Description       *string   `json:"description"`
	Priority          *int64    `json:"priority"`
	Preempt           []string  `json:"preempt"`
	PreemptMode       *string   `json:"preempt_mode"`
	PreemptExemptTime *string   `json:"preempt_exempt_time"`
	GraceTime         *string   `json:"grace_time"`
	Flags             []string  `json:"flags"`
	UsageFactor       *float64  `json:"usage_factor"`
	UsageThreshold    *float64  `json:"usage_threshold"`
	Limits            QOSLimits `json:"limits"`
}

// QOSLimits is what may be used at most; nil stands for no limit.
type QOSLimits struct {
	MaxWall             *string           `json:"max_wall"`
	MaxJobsPerUser      *int64            `json:"max_jobs_per_user"`
	MaxJobsPerAccount   *int64            `json:"max_jobs_per_account"`
	MaxSubmitPerUser    *int64            `json:"max_submit_per_user"`
	MaxSubmitPerAccount *int64            `json:"max_submit_per_account"`
	MaxTRESPerJob       map[string]string `json:"max_tres_per_job"`
	MaxTRESPerUser      map[string]string `json:"max_tres_per_user"`
	MinTRESPerJob       map[string]string `json:"min_tres_per_job"`
	GroupJobs           *int64            `json:"group_jobs"`
	GroupSubmit         *int64            `json:"group_submit"`
	GroupWall           *string           `json:"group_wall"`
	GroupTRES           map[string]string `json:"group_tres"`
}

// QOSDetail is one QOS with its jobs.
type QOSDetail struct {
	QOS
	JobsRunning int `json:"jobs_running"`
	JobsPending int `json:"jobs_pending"`
}

// QOSList is a list of QOS.
type QOSList struct {
	QOS   []QOS `json:"qos"`
	Total int   `json:"total"`
}

// QualitiesOfService is what can be asked about QOS.
type QualitiesOfService struct{ client *Client }

// List returns the QOS; options may be nil.
func (qos *QualitiesOfService) List(options *PageOptions) (*QOSList, error) {
	list := &QOSList{}
	return list, qos.client.Call(http.MethodGet, "/qos", options.query(), nil, list)
}

// Get returns one QOS.
func (qos *QualitiesOfService) Get(name string) (*QOSDetail, error) {
	found := &QOSDetail{}
	return found, qos.client.Call(http.MethodGet, "/qos/"+url.PathEscape(name), nil, nil, found)
}
