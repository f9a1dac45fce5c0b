// Follow a job and updates while the server is started anew, as in restart_sdk.py.
package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/s9s/go-client"
)

func main() {
	client := s9s.NewClient(&s9s.Config{
		BaseURL: os.Getenv("URL"), Token: os.Getenv("TOKEN"),
		Retries: &s9s.Retries{Count: 300, First: 100 * time.Millisecond, Longest: time.Second},
	})
	seen := make(chan bool)
	go func() {
		updates := client.Updates("queue", &s9s.UpdateOptions{Snapshot: true})
		for count := 0; count < 2 && updates.Next(); {
			if updates.Update().Action == "snapshot" {
				fmt.Println("snapshot")
				count++
			}
		}
		updates.Close()
		close(seen)
	}()
	if _, err := io.Copy(os.Stdout, client.Jobs.Follow(os.Getenv("JOB"), nil)); err != nil {
		panic(err)
	}
	job, err := client.Jobs.Wait(os.Getenv("JOB"), 0)
	if err != nil {
		panic(err)
	}
	fmt.Println(job.State)
	<-seen
}
