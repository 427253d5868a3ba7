def check(*a): return ""
