package s9s

import (
	"encoding/json"
	"os"
	"reflect"
	"sort"
	"strings"
	"testing"
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

// What the client has a type for, by the name of its schema. Types of requests may leave fields out.
var typed = []struct {
	name      string
	kind      reflect.Type
	isRequest bool
}{
	{"Job", reflect.TypeOf(Job{}), false},
	{"JobDetail", reflect.TypeOf(JobDetail{}), false},
	{"JobResources", reflect.TypeOf(JobResources{}), false},
	{"JobDependency", reflect.TypeOf(JobDependency{}), false},
	{"Export", reflect.TypeOf(Export{}), false},
	{"JobState", reflect.TypeOf(JobState{}), false},
	{"JobPriority", reflect.TypeOf(JobPriority{}), false},
	{"Output", reflect.TypeOf(Output{}), false},
	{"Submission", reflect.TypeOf(JobSubmitRequest{}), true},
}

func TestTypesAreThoseOfTheContract(t *testing.T) {
	read := readDocument(t)
	for _, row := range typed {
		described, ok := read.Components.Schemas[row.name]
		if !ok {
			t.Errorf("the contract has no %s", row.name)
			continue
		}
		described = read.resolve(described)
		fields := map[string]reflect.Type{}
		listFields(row.kind, fields)
		for name := range fields {
			if _, ok := described.Properties[name]; !ok {
				t.Errorf("%s.%s is not in the contract", row.name, name)
			}
		}
		names := make([]string, 0, len(described.Properties))
		for name := range described.Properties {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			kind, ok := fields[name]
			if !ok {
				t.Errorf("%s.%s is missing", row.name, name)
				continue
			}
			property := read.resolve(described.Properties[name])
			if problem := compare(kind, property, row.isRequest); problem != "" {
				t.Errorf("%s.%s: %s", row.name, name, problem)
			}
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

// The paths that the client calls; those of a job are below it.
func TestPathsAreThoseOfTheContract(t *testing.T) {
	read := readDocument(t)
	for path, methods := range map[string][]string{
		"/jobs": {"get", "post"}, "/jobs/bulk": {"post"}, "/jobs/{job_id}": {"get", "delete"},
		"/jobs/{job_id}/hold": {"put"}, "/jobs/{job_id}/release": {"put"}, "/jobs/{job_id}/requeue": {"put"},
		"/jobs/{job_id}/suspend": {"put"}, "/jobs/{job_id}/resume": {"put"}, "/jobs/{job_id}/priority": {"put"},
		"/jobs/{job_id}/output": {"get"}, "/jobs/{job_id}/error": {"get"}, "/jobs/{job_id}/script": {"get"},
		"/export": {"post"}, "/exports": {"get"}, "/exports/{export_id}": {"get", "delete"},
		"/exports/{export_id}/download": {"get"},
	} {
		for _, method := range methods {
			if _, ok := read.Paths[path][method]; !ok {
				t.Errorf("the contract has no %s %s", method, path)
			}
		}
	}
}
