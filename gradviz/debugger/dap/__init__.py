"""The debugger for editors: a server of the Debug Adapter Protocol over a pair of byte streams.

It only translates: editors ask, `gradviz.debugger.Debugger` does. Every family of requests is a module of
`gradviz.debugger.dap.requests`.
"""
