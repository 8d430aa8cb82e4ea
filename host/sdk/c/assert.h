// The standard's assert for plugins: a failed one is a line in the log, where libc would print it, and a fault. NDEBUG as
// in the standard, so no include guard.
#undef assert

#ifdef NDEBUG
#define assert(condition) ((void)0)
#else
#define assert(condition) ((condition) ? (void)0 : rw_assert_failed(#condition, __FILE__, __LINE__, __func__))
#endif

#if !defined(static_assert) && __STDC_VERSION__ < 202311L
#define static_assert _Static_assert
#endif

_Noreturn void rw_assert_failed(const char *condition, const char *file, int line, const char *function);
