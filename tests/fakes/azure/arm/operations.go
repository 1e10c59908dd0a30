package main

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const inProgress = "InProgress"

// Operation is one that takes its time. It is kept, and gone on with after a restart: what it does can be done twice.
type Operation struct {
	ID       string   `json:"id"`
	Kind     string   `json:"kind"` // disk.put, vm.powerOff, ...
	Resource string   `json:"resource"`
	Status   string   `json:"status"` // InProgress, Succeeded, Failed
	Failure  *Failure `json:"failure,omitempty"`
	Output   Object   `json:"output,omitempty"`
	Begun    string   `json:"begun"`
	Ended    string   `json:"ended,omitempty"`
	Network  bool     `json:"network"`
	Version  string   `json:"version"`
	DelayMS  int      `json:"delay_ms"`
	// What it is made to fail with; its work is not done then.
	Planned *Failure `json:"planned,omitempty"`
	// Of begin: how long access is given, ...
	Argument string `json:"argument,omitempty"`
}

func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.0000000+00:00") }

// begin starts it. Without the mutex.
func (s *Site) begin(kind string, r *Resource, q *Request) *Operation {
	o := &Operation{ID: makeUUID(), Kind: kind, Resource: r.ID.String(), Status: inProgress, Begun: now(), Version: q.version,
		Network: r.ID.Provider == "Microsoft.Network", Planned: q.planned, Argument: q.argument}
	s.change(func() {
		o.DelayMS = s.config.OperationMS
		s.operations[o.ID] = o
	})
	s.run(o)
	return o
}

func (s *Site) run(o *Operation) {
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		lock := s.lock(keyOf(o.Resource))
		lock.Lock()
		defer lock.Unlock()
		select {
		case <-time.After(time.Duration(o.DelayMS) * time.Millisecond):
		case <-s.ending:
			return // It goes on when this is started again.
		}
		failure := s.perform(o)
		s.change(func() {
			o.Ended = now()
			o.Status = "Succeeded"
			if failure != nil {
				o.Status = "Failed"
				o.Failure = failure
			}
			if r := s.resources[keyOf(o.Resource)]; r != nil && (r.State == "Creating" || r.State == "Updating" || r.State == "Deleting") {
				r.State, r.Failure = o.Status, failure
			}
		})
	}()
}

// perform is the work of an operation. The resource's lock is held.
func (s *Site) perform(o *Operation) *Failure {
	r := s.find(o.Resource)
	if r == nil {
		return nil // Deleted, which is what remains of any operation on it.
	}
	if o.Planned != nil {
		return o.Planned
	}
	switch o.Kind {
	case "vm.put":
		return s.makeVM(r)
	case "vm.start":
		return s.powerUp(r)
	case "vm.restart":
		s.powerDown(r, "stopped")
		return s.powerUp(r)
	case "vm.powerOff":
		if s.powerOf(r) != "deallocated" {
			s.powerDown(r, "stopped")
		}
	case "vm.deallocate":
		s.powerDown(r, "deallocated")
	case "vm.delete":
		s.powerDown(r, "deallocated")
		s.deleteVM(r)
	case "disk.put":
		return s.importDisk(r)
	case "disk.delete":
		return s.deleteDisk(r)
	case "disk.beginGetAccess":
		return s.grant(r, o)
	case "disk.endGetAccess":
		s.change(func() { r.Access = "" })
	case "interface.put":
		s.change(func() { s.makeInterface(r) })
	case "interface.delete":
		s.change(func() { delete(s.resources, r.ID.key()) })
	default:
		return fail(0, "InternalServerError", "no such kind of operation: %s", o.Kind)
	}
	return nil
}

// headers names the operation to who began it.
func (f *Front) headers(header http.Header, o *Operation, withLocation bool) {
	provider, results := "Microsoft.Compute", "operations"
	if o.Network {
		provider, results = "Microsoft.Network", "operationResults"
	}
	url := func(kind string) string {
		return fmt.Sprintf("%s/subscriptions/%s/providers/%s/locations/%s/%s/%s", f.URL(), f.site.config.Subscription, provider,
			f.site.config.Region, kind, o.ID)
	}
	// Compute's URLs are without a version in some replies; clients put theirs there.
	header.Set("Azure-AsyncOperation", url("operations")+"?api-version="+o.Version)
	if withLocation {
		header.Set("Location", url(results)+"?monitor=true&api-version="+o.Version)
	}
	f.retryAfter(header)
}

func (f *Front) retryAfter(header http.Header) {
	f.site.mutex.Lock()
	defer f.site.mutex.Unlock()
	if f.site.config.RetryAfter >= 0 {
		header.Set("Retry-After", strconv.Itoa(f.site.config.RetryAfter))
	}
}

// operation answers a look at one.
func (f *Front) operation(w http.ResponseWriter, id string, monitor bool) {
	s := f.site
	s.mutex.Lock()
	var o Operation
	known := s.operations[id]
	if known != nil {
		o = *known
	}
	var resource Object
	if r := s.resources[keyOf(o.Resource)]; r != nil {
		resource = s.render(r)
	}
	s.mutex.Unlock()
	if known == nil {
		f.fail(w, fail(http.StatusNotFound, "NotFound", "The entity was not found."))
		return
	}
	if o.Status == inProgress {
		if monitor {
			f.headers(w.Header(), &o, true)
			w.WriteHeader(http.StatusAccepted)
			return
		}
		f.retryAfter(w.Header())
		f.reply(w, http.StatusOK, Object{"startTime": o.Begun, "status": inProgress, "name": o.ID})
		return
	}
	if monitor {
		switch {
		case o.Failure != nil:
			failure := *o.Failure
			failure.HTTP = http.StatusConflict
			f.fail(w, &failure)
		case o.Output != nil:
			f.reply(w, http.StatusOK, o.Output)
		case resource != nil && (o.Kind == "vm.put" || o.Kind == "disk.put" || o.Kind == "interface.put"):
			f.reply(w, http.StatusOK, resource)
		case o.Kind == "vm.delete" || o.Kind == "disk.delete" || o.Kind == "interface.delete":
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusOK)
		}
		return
	}
	out := Object{"startTime": o.Begun, "endTime": o.Ended, "status": o.Status, "name": o.ID}
	if o.Failure != nil {
		out["error"] = o.Failure.body()
	}
	if o.Output != nil {
		out["properties"] = Object{"output": o.Output}
	}
	f.reply(w, http.StatusOK, out)
}
