// Package s9s is a client of the S9S cluster API: a SLURM cluster over HTTP.
//
//	client := s9s.NewClient(&s9s.Config{BaseURL: "https://api.example.com", Token: "your_token_here"})
//	jobs, err := client.Jobs.List(&s9s.JobListOptions{State: "RUNNING", User: "alice"})
//
// It needs the standard library only. Its types are written by hand, since a Go module is fetched as source and
// so cannot leave out what a generator makes; contract_test.go holds them against the contract.
package s9s
