// What a user does with the Go client; each line says what was seen, as in use_sdk.py.
package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/s9s/go-client"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func truth(value bool) string {
	if value {
		return "True"
	}
	return "False"
}

func list(words []string) string { return "['" + strings.Join(words, "', '") + "']" }

var names = map[string]string{
	s9s.ResourceNotFound: "ResourceNotFound", s9s.ValidationError: "ValidationError",
	s9s.ResourceConflict: "ResourceConflict", s9s.AuthenticationFailed: "AuthenticationFailed",
	s9s.RateLimitExceeded: "RateLimitExceeded",
}

func tell(err error) (string, *s9s.Error) {
	var refusal *s9s.Error
	if !errors.As(err, &refusal) {
		panic(fmt.Sprint("no refusal: ", err))
	}
	return fmt.Sprintf("%s %d %s %s", names[refusal.Code], refusal.Status, refusal.Code, truth(refusal.RequestID != "")),
		refusal
}

func main() {
	client := s9s.NewClient(&s9s.Config{BaseURL: os.Getenv("URL"), Token: os.Getenv("TOKEN")})
	job, err := client.Jobs.Submit(&s9s.JobSubmitRequest{
		Name: "sdk-words", Script: "#!/bin/sh\necho one\nsleep 1\necho two\n",
	})
	check(err)
	stream := client.Jobs.Follow(job.JobID, nil)
	text, err := io.ReadAll(stream)
	check(err)
	check(stream.Close())
	fmt.Printf("followed '%s'\n", strings.ReplaceAll(string(text), "\n", "\\n"))
	ended, err := client.Jobs.Wait(job.JobID, 10*time.Minute)
	check(err)
	fmt.Println("ended", ended.State)
	output, err := client.Jobs.Output(job.JobID, nil)
	check(err)
	fmt.Println("output", list(output.Lines))
	var made []string
	for at := 0; at < 3; at++ {
		one, err := client.Jobs.Submit(&s9s.JobSubmitRequest{Name: "sdk-many", Script: "/bin/sleep 600", Nodes: 1})
		check(err)
		made = append(made, one.JobID)
	}
	ids := map[string]bool{}
	rows := client.Jobs.Iterate(&s9s.JobListOptions{Limit: 2})
	for rows.Next() {
		ids[rows.Job().JobID] = true
	}
	check(rows.Err())
	fmt.Println("all pages", truth(ids[made[0]] && ids[made[1]] && ids[made[2]]))
	page, err := client.Jobs.List(&s9s.JobListOptions{Limit: 1})
	check(err)
	fmt.Println("one page", len(page.Jobs), truth(page.Total >= 4), truth(page.HasMore))
	_, err = client.Jobs.Wait(made[0], 100*time.Millisecond)
	var late *s9s.WaitTimeout
	if errors.As(err, &late) {
		fmt.Println("WaitTimeout")
	}
	state, err := client.Jobs.Cancel(made[0])
	check(err)
	fmt.Println("cancelled", state.State)
	done, err := client.Jobs.Bulk(&s9s.BulkRequest{
		Action: "cancel", JobIDs: made[1:], Options: &s9s.BulkOptions{Force: true},
	})
	check(err)
	fmt.Println("bulk", done.Summary.Successful, done.Summary.Failed)
	request := &s9s.JobSubmitRequest{Name: "sdk-once", Script: "/bin/true", IdempotencyKey: "key-" + job.JobID}
	first, err := client.Jobs.Submit(request)
	check(err)
	second, err := client.Jobs.Submit(request)
	check(err)
	fmt.Println("once", truth(first.JobID == second.JobID))
	_, unknown := client.Jobs.Get("99999999")
	_, wrong := client.Jobs.Submit(&s9s.JobSubmitRequest{Script: "x", Nodes: -1})
	for _, err := range []error{unknown, wrong} {
		said, refusal := tell(err)
		var keys []string
		for key := range refusal.Details {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		fmt.Println(said, list(keys))
	}
	useFiles(client)
	_, err = client.Jobs.Cancel(job.JobID)
	said, _ := tell(err)
	fmt.Println(said)
	_, err = s9s.NewClient(&s9s.Config{BaseURL: os.Getenv("URL"), Token: "wrong"}).Jobs.List(nil)
	said, _ = tell(err)
	fmt.Println(said)
	useBusy()
}

func useFiles(client *s9s.Client) {
	begun, err := client.Exports.Create(&s9s.ExportRequest{
		Type: "jobs", Format: "csv", Fields: []string{"job_id", "job_name"},
	})
	check(err)
	made, err := client.Exports.Wait(begun.ExportID)
	check(err)
	var file strings.Builder
	_, err = client.Exports.Download(made.ExportID, &file)
	check(err)
	line, _, _ := strings.Cut(file.String(), "\r\n")
	fmt.Println("exported", made.Status, line)
	check(client.Exports.Delete(made.ExportID))
	var nodes struct {
		Nodes []struct {
			NodeName string `json:"node_name"`
		} `json:"nodes"`
	}
	check(client.Call("GET", "/nodes", nil, nil, &nodes))
	var node struct {
		NodeName string `json:"node_name"`
	}
	check(client.Call("GET", "/nodes/node01", nil, nil, &node))
	var partition struct {
		Name string `json:"name"`
	}
	check(client.Call("GET", "/partitions/main", nil, nil, &partition))
	fmt.Println("nodes", list([]string{nodes.Nodes[0].NodeName, nodes.Nodes[1].NodeName}), node.NodeName, partition.Name)
	var found struct {
		Results []struct {
			ID string `json:"id"`
		} `json:"results"`
	}
	query := url.Values{"q": {"node01"}, "type": {"nodes"}}
	check(client.Call("GET", "/search", query, nil, &found))
	fmt.Println("found", found.Results[0].ID)
	var metrics struct {
		JobCounts map[string]int `json:"job_counts"`
	}
	check(client.Call("GET", "/metrics/cluster", nil, nil, &metrics))
	var status struct {
		APIVersion string `json:"api_version"`
	}
	check(client.Call("GET", "/status", nil, nil, &status))
	fmt.Println("metrics", truth(metrics.JobCounts != nil), status.APIVersion)
}

func useBusy() {
	quick := &s9s.Retries{Count: 4, First: 10 * time.Millisecond, Longest: time.Minute}
	patient := s9s.NewClient(&s9s.Config{BaseURL: os.Getenv("BUSY"), Retries: quick})
	job, err := patient.Jobs.Submit(&s9s.JobSubmitRequest{Script: "/bin/true"})
	check(err)
	fmt.Println("at last", job.JobID)
	_, err = patient.Jobs.Get("1")
	said, refusal := tell(err)
	fmt.Printf("%s %.1f\n", said, refusal.RetryAfter.Seconds())
	_, err = s9s.NewClient(&s9s.Config{BaseURL: "http://127.0.0.1:1", Retries: quick}).Jobs.Get("1")
	var lost *s9s.ConnectionError
	if errors.As(err, &lost) {
		fmt.Println("ConnectionFailed")
	}
}
