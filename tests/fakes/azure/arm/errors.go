package main

import (
	"fmt"
	"net/http"
)

// Failure is an error as Azure has it. HTTP is 0 in one of an operation.
type Failure struct {
	HTTP    int
	Code    string
	Message string
	Target  string
}

func (f *Failure) Error() string { return f.Code + ": " + f.Message }

func (f *Failure) body() Object {
	inner := Object{"code": f.Code, "message": f.Message}
	if f.Target != "" {
		inner["target"] = f.Target
	}
	return inner
}

func fail(status int, code string, format string, arguments ...any) *Failure {
	return &Failure{HTTP: status, Code: code, Message: fmt.Sprintf(format, arguments...)}
}

func notFound(id ID) *Failure {
	return fail(http.StatusNotFound, "ResourceNotFound", "The Resource '%s/%s/%s' under resource group '%s' was not found. For more details please go to "+
		"https://aka.ms/ARMResourceNotFoundFix", id.Provider, id.Type, id.Name, id.Group)
}

func invalid(target string, format string, arguments ...any) *Failure {
	f := fail(http.StatusBadRequest, "InvalidParameter", format, arguments...)
	f.Target = target
	return f
}
