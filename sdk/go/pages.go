package s9s

import (
	"net/url"
	"strconv"
	"time"
)

// Iterator goes through a list page by page. It is used as bufio.Scanner is:
//
//	for rows.Next() { … rows.Row() … }
//	err := rows.Err()
type Iterator[Row any] struct {
	list    func(limit, offset int) (rows []Row, hasMore bool, err error)
	name    func(*Row) string
	limit   int
	offset  int
	known   map[string]bool
	rows    []Row
	hasMore bool
	row     *Row
	err     error
}

func iterate[Row any](limit int, name func(*Row) string, list func(limit, offset int) ([]Row, bool, error)) *Iterator[Row] {
	if limit == 0 {
		limit = 500
	}
	return &Iterator[Row]{list: list, name: name, limit: limit, known: map[string]bool{}, hasMore: true}
}

// Next goes on to the next row; false when there is none, or an error. Each row comes once, also where others come or
// go meanwhile.
func (iterator *Iterator[Row]) Next() bool {
	for {
		for len(iterator.rows) > 0 {
			iterator.row, iterator.rows = &iterator.rows[0], iterator.rows[1:]
			if name := iterator.name(iterator.row); !iterator.known[name] {
				iterator.known[name] = true
				return true
			}
		}
		if !iterator.hasMore {
			return false
		}
		iterator.rows, iterator.hasMore, iterator.err = iterator.list(iterator.limit, iterator.offset)
		if iterator.err != nil {
			iterator.rows, iterator.hasMore = nil, false
			return false
		}
		iterator.offset += len(iterator.rows)
		iterator.hasMore = iterator.hasMore && len(iterator.rows) > 0
	}
}

// Row returns the present row.
func (iterator *Iterator[Row]) Row() *Row { return iterator.row }

// Err returns why Next ended early, if it did.
func (iterator *Iterator[Row]) Err() error { return iterator.err }

// PageOptions says which part of a list to return. A Limit of 0 is left to the server.
type PageOptions struct {
	Limit  int
	Offset int
}

func (options *PageOptions) query() url.Values {
	if options == nil {
		return url.Values{}
	}
	return makeQuery(map[string]interface{}{"limit": options.Limit, "offset": options.Offset})
}

// makeQuery leaves out what is empty: it is left to the server.
func makeQuery(given map[string]interface{}) url.Values {
	query := url.Values{}
	for name, value := range given {
		switch value := value.(type) {
		case string:
			if value != "" {
				query.Set(name, value)
			}
		case int:
			if value != 0 {
				query.Set(name, strconv.Itoa(value))
			}
		case bool:
			if value {
				query.Set(name, "true")
			}
		case *bool:
			if value != nil {
				query.Set(name, strconv.FormatBool(*value))
			}
		case time.Time:
			if !value.IsZero() {
				query.Set(name, value.UTC().Format(time.RFC3339))
			}
		}
	}
	return query
}
