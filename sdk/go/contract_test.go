package s9s

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The document is the S9S API as OpenAPI 3.0; `just test-clients` names it.
const documentVariable = "S9S_OPENAPI"

type schema struct {
	Ref        string            `json:"$ref"`
	Type       string            `json:"type"`
	Nullable   bool              `json:"nullable"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	AllOf      []schema          `json:"allOf"`
	AnyOf      []schema          `json:"anyOf"`
	Enum       []interface{}     `json:"enum"`
}

type document struct {
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

func readDocument(t *testing.T) document {
	path := os.Getenv(documentVariable)
	if path == "" {
		t.Skip(documentVariable + " does not name the API's document")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var read document
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

func (read document) resolve(part schema) schema {
	for {
		switch {
		case part.Ref != "":
			part = read.Components.Schemas[part.Ref[strings.LastIndex(part.Ref, "/")+1:]]
		case len(part.AllOf) == 1:
			part = part.AllOf[0]
		default:
			return part
		}
	}
}

// describe returns a schema by its name, or that of what a request answers.
func (read document) describe(name string) (schema, bool) {
	method, path, isRequest := strings.Cut(name, " ")
	if !isRequest {
		found, ok := read.Components.Schemas[name]
		return read.resolve(found), ok
	}
	var operation struct {
		Responses map[string]struct {
			Content map[string]struct {
				Schema schema `json:"schema"`
			} `json:"content"`
		} `json:"responses"`
	}
	if err := json.Unmarshal(read.Paths[path][method], &operation); err != nil {
		return schema{}, false
	}
	for status, response := range operation.Responses {
		if content, ok := response.Content["application/json"]; ok && status[0] == '2' {
			return read.resolve(content.Schema), true
		}
	}
	return schema{}, false
}

// What the client has a type for, by the name of its schema or by the request that it answers. Types of requests may
// leave fields out.
var typed = []struct {
	name      string
	kind      reflect.Type
	isRequest bool
}{
	{"Job", reflect.TypeOf(Job{}), false},
	{"JobDetail", reflect.TypeOf(JobDetail{}), false},
	{"JobState", reflect.TypeOf(JobState{}), false},
	{"JobPriority", reflect.TypeOf(JobPriority{}), false},
	{"Output", reflect.TypeOf(Output{}), false},
	{"Submission", reflect.TypeOf(JobSubmitRequest{}), true},
	{"get /jobs", reflect.TypeOf(JobPage{}), false},
	{"get /jobs/ids", reflect.TypeOf(JobIDs{}), false},
	{"get /jobs/filter-fields", reflect.TypeOf(FilterFields{}), false},
	{"post /jobs/bulk", reflect.TypeOf(BulkResult{}), false},
	{"get /jobs/{job_id}/script", reflect.TypeOf(Script{}), false},
	{"NodeDetail", reflect.TypeOf(NodeDetail{}), false},
	{"NodeChange", reflect.TypeOf(NodeChange{}), false},
	{"get /nodes", reflect.TypeOf(NodeList{}), false},
	{"UserDetail", reflect.TypeOf(UserDetail{}), false},
	{"get /users", reflect.TypeOf(UserList{}), false},
	{"PartitionDetail", reflect.TypeOf(PartitionDetail{}), false},
	{"get /partitions", reflect.TypeOf(PartitionList{}), false},
	{"get /reservations", reflect.TypeOf(ReservationList{}), false},
	{"QosDetail", reflect.TypeOf(QOSDetail{}), false},
	{"get /qos", reflect.TypeOf(QOSList{}), false},
	{"ClusterMetrics", reflect.TypeOf(ClusterMetrics{}), false},
	{"get /metrics/performance", reflect.TypeOf(PerformanceMetrics{}), false},
	{"get /metrics/efficiency", reflect.TypeOf(EfficiencyPage{}), false},
	{"get /alerts", reflect.TypeOf(AlertPage{}), false},
	{"get /search", reflect.TypeOf(SearchResults{}), false},
	{"get /exports", reflect.TypeOf(ExportPage{}), false},
	{"get /reports", reflect.TypeOf(ReportPage{}), false},
	{"Status", reflect.TypeOf(Status{}), false},
}

func TestTypesAreThoseOfTheContract(t *testing.T) {
	read := readDocument(t)
	for _, row := range typed {
		described, ok := read.describe(row.name)
		if !ok {
			t.Errorf("the contract has no %s", row.name)
			continue
		}
		read.check(t, row.name, row.kind, described, row.isRequest)
	}
}

var moment = reflect.TypeOf(time.Time{})

// check compares the fields of a struct with those of an object, and what they hold.
func (read document) check(t *testing.T, place string, kind reflect.Type, described schema, isRequest bool) {
	fields := map[string]reflect.Type{}
	listFields(kind, fields)
	for name := range fields {
		if _, ok := described.Properties[name]; !ok {
			t.Errorf("%s.%s is not in the contract", place, name)
		}
	}
	for name, property := range described.Properties {
		held, ok := fields[name]
		if !ok {
			t.Errorf("%s.%s is missing", place, name)
			continue
		}
		property = read.resolve(property)
		if problem := compare(held, property, isRequest); problem != "" {
			t.Errorf("%s.%s: %s", place, name, problem)
		}
		if held.Kind() == reflect.Slice && property.Items != nil {
			held, property = held.Elem(), read.resolve(*property.Items)
		}
		if held.Kind() == reflect.Struct && held != moment {
			read.check(t, place+"."+name, held, property, isRequest)
		}
	}
}

func listFields(kind reflect.Type, fields map[string]reflect.Type) {
	for at := 0; at < kind.NumField(); at++ {
		field := kind.Field(at)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous {
			listFields(field.Type, fields)
		} else if name != "-" {
			fields[name] = field.Type
		}
	}
}

func compare(kind reflect.Type, property schema, isRequest bool) string {
	isPointer := kind.Kind() == reflect.Ptr
	if isPointer {
		kind = kind.Elem()
	}
	if property.Nullable && !isPointer && !isRequest && kind.Kind() != reflect.Slice && kind.Kind() != reflect.Map &&
		kind.Kind() != reflect.Interface {
		return "may be null, but is no pointer"
	}
	kinds := map[string][]reflect.Kind{
		"string":  {reflect.String, reflect.Struct}, // time.Time is a struct
		"integer": {reflect.Int, reflect.Int64}, "number": {reflect.Float64}, "boolean": {reflect.Bool},
		"array": {reflect.Slice}, "object": {reflect.Map, reflect.Struct},
	}[property.Type]
	for _, known := range kinds {
		if known == kind.Kind() {
			return ""
		}
	}
	if len(kinds) == 0 {
		return "" // of several types, or of any
	}
	return "is a " + property.Type + ", not a " + kind.String()
}

// Every operation is a method of the client, but for what tells about the API itself, and the WebSocket's ticket.
func TestPathsAreThoseOfTheContract(t *testing.T) {
	read := readDocument(t)
	known := map[string]string{
		"/jobs": "get post", "/jobs/ids": "get", "/jobs/filter-fields": "get", "/jobs/bulk": "post", "/jobs/{job_id}": "delete get", "/jobs/{job_id}/hold": "put",
		"/jobs/{job_id}/release": "put", "/jobs/{job_id}/requeue": "put", "/jobs/{job_id}/suspend": "put",
		"/jobs/{job_id}/resume": "put", "/jobs/{job_id}/priority": "put", "/jobs/{job_id}/output": "get",
		"/jobs/{job_id}/error": "get", "/jobs/{job_id}/script": "get", "/nodes": "get", "/nodes/{node_name}": "get",
		"/nodes/{node_name}/drain": "put", "/nodes/{node_name}/resume": "put", "/nodes/{node_name}/state": "put",
		"/users": "get", "/users/{username}": "get", "/partitions": "get", "/partitions/{partition_name}": "get",
		"/reservations": "get", "/reservations/{reservation_name}": "get", "/qos": "get", "/qos/{qos_name}": "get",
		"/metrics/cluster": "get", "/metrics/performance": "get", "/metrics/efficiency": "get", "/alerts": "get",
		"/alerts/{alert_id}/acknowledge": "put", "/alerts/{alert_id}/resolve": "put", "/search": "get",
		"/export": "post", "/exports": "get", "/exports/{export_id}": "delete get",
		"/exports/{export_id}/download": "get", "/reports": "get post", "/reports/{report_id}": "delete get",
		"/reports/{report_id}/download": "get", "/status": "get", "/ws/ticket": "post",
		"/health": "get", "/openapi.json": "get", "/openapi.yaml": "get",
	}
	for path, operations := range read.Paths {
		var methods []string
		for _, method := range []string{"delete", "get", "post", "put"} {
			if _, ok := operations[method]; ok {
				methods = append(methods, method)
			}
		}
		if said := strings.Join(methods, " "); said != known[path] {
			t.Errorf("%s has %s, the client %s", path, said, known[path])
		}
		delete(known, path)
	}
	for path := range known {
		t.Errorf("the contract has no %s", path)
	}
}
