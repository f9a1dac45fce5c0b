// What a user does with the Go client; each line says what was seen, as in use_sdk.py.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	s9s.RateLimitExceeded: "RateLimitExceeded", s9s.InvalidRequest: "InvalidRequest",
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
		ids[rows.Row().JobID] = true
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
	waits := useUpdates(client)
	useClient()
	_, err = client.Jobs.Cancel(job.JobID)
	said, _ := tell(err)
	fmt.Println(said)
	_, err = s9s.NewClient(&s9s.Config{BaseURL: os.Getenv("URL"), Token: "wrong"}).Jobs.List(nil)
	said, _ = tell(err)
	fmt.Println(said)
	useBusy()
	ctx, leave := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, leave)
	_, err = client.WithContext(ctx).Jobs.Wait(waits, 0)
	if errors.Is(err, context.Canceled) {
		fmt.Println("left")
	}
}

func useFiles(client *s9s.Client) {
	_, mistyped := client.Exports.Create(&s9s.ExportRequest{
		Type: "jobs", Format: "csv", Filter: map[string]string{"usr": "me"},
	})
	said, _ := tell(mistyped)
	_, empty := client.Jobs.Get("")
	fmt.Print("mistyped ", strings.Fields(said)[0])
	said, _ = tell(empty)
	fmt.Println(" " + strings.Fields(said)[0])
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
	nodes, err := client.Nodes.List(nil)
	check(err)
	node, err := client.Nodes.Get("node01")
	check(err)
	partition, err := client.Partitions.Get("main")
	check(err)
	fmt.Println("nodes", list([]string{nodes.Nodes[0].NodeName, nodes.Nodes[1].NodeName}), node.NodeName, partition.Name)
	found, err := client.Search("node01", &s9s.SearchOptions{Type: "nodes"})
	check(err)
	fmt.Println("found", found.Results[0].ID)
	metrics, err := client.Metrics.Cluster()
	check(err)
	status, err := client.Status()
	check(err)
	fmt.Println("metrics", truth(metrics.JobCounts != nil), status.APIVersion)
	users, err := client.Users.List(nil)
	check(err)
	reports := client.Reports.Iterate()
	for reports.Next() {
		panic(reports.Row().ReportID)
	}
	check(reports.Err())
	fmt.Println("reports [] users", truth(len(users.Users) > 0))
}

func useUpdates(client *s9s.Client) string {
	updates := client.Updates("jobs", &s9s.UpdateOptions{
		Filter: map[string]interface{}{"state": "RUNNING,PENDING"}, Snapshot: true,
	})
	defer updates.Close()
	var waits string
	for updates.Next() {
		update := updates.Update()
		if update.Action == "snapshot" {
			made, err := client.Jobs.Submit(&s9s.JobSubmitRequest{Name: "sdk-told", Script: "/bin/sleep 600"})
			check(err)
			waits = made.JobID
		} else if update.ResourceID == waits {
			var data struct {
				JobID string `json:"job_id"`
			}
			check(json.Unmarshal(update.Data, &data))
			fmt.Println("told", update.Action, truth(data.JobID == waits))
			return waits
		}
	}
	panic(updates.Err())
}

func useClient() {
	config := s9s.Config{
		BaseURL: os.Getenv("URL"), ClientID: os.Getenv("CLIENT"), ClientSecret: os.Getenv("SECRET"),
	}
	status, err := s9s.NewClient(&config).Status()
	check(err)
	var scopes []string
	for _, scope := range status.User.Scopes {
		if scope != "report" {
			scopes = append(scopes, scope)
		}
	}
	sort.Strings(scopes)
	fmt.Println("client", status.User.Name, list(scopes))
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
	config := s9s.Config{BaseURL: os.Getenv("URL"), ClientID: os.Getenv("CLIENT"), ClientSecret: "wrong"}
	_, err = s9s.NewClient(&config).Status()
	said, refusal = tell(err)
	fmt.Println(strings.Fields(said)[0], refusal.Details["error"])
	config = s9s.Config{
		BaseURL: os.Getenv("BUSY") + "/v1", ClientID: os.Getenv("CLIENT"), ClientSecret: os.Getenv("SECRET"),
		Scope: "read",
	}
	script, err := s9s.NewClient(&config).Jobs.Script("2")
	check(err)
	fmt.Println("anew", script.Script)
}
